<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

// Deliberate: there are rows, and PostgreSQL has no value to give them.
return new class extends Migration
{
    public function up(): void
    {
        Schema::create('names', function (Blueprint $table) {
            $table->id();
        });
        Schema::table('customers', function (Blueprint $table) {
            $table->string('nickname');
        });
    }
};
