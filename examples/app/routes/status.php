<?php

use App\Http\Controllers\StatusController;
use Illuminate\Support\Facades\Route;

Route::get('/up', [StatusController::class, 'up']);
Route::get('/release', [StatusController::class, 'release']);
Route::get('/beats', [StatusController::class, 'beats']);
