<?php

use App\Http\Controllers\HomeController;
use App\Http\Controllers\NoteController;
use App\Http\Controllers\UploadController;
use Illuminate\Support\Facades\Route;

Route::get('/', HomeController::class);
Route::get('/notes', [NoteController::class, 'index']);
Route::post('/notes', [NoteController::class, 'store']);
Route::get('/notes/archive', [NoteController::class, 'archived']);
Route::get('/notes/{note}', [NoteController::class, 'show'])->whereNumber('note');
Route::post('/notes/{note}/archive', [NoteController::class, 'archive'])->whereNumber('note');
Route::get('/uploads', [UploadController::class, 'index']; // deliberate: the parenthesis is never closed
Route::post('/uploads', [UploadController::class, 'store']);
