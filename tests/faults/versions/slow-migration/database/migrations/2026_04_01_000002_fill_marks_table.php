<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Support\Facades\DB;

// Slow, so that there is a moment in the middle of it.
return new class extends Migration
{
    public function up(): void
    {
        sleep(6);
        DB::table('marks')->insert(['id' => null]);
    }

    public function down(): void
    {
        DB::table('marks')->delete();
    }
};
