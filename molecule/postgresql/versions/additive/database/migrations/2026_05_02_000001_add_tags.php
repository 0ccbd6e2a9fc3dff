<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up(): void
    {
        Schema::create('tags', function (Blueprint $table) {
            $table->id();
            $table->string('name')->unique();
        });
        Schema::table('orders', function (Blueprint $table) {
            $table->text('note')->nullable();
            $table->boolean('paid')->default(false);
            // Of a table with few rows.
            $table->index('state');
        });
        // Writes, so that it must not be carried out for the plan.
        DB::statement("select setval(pg_get_serial_sequence('orders', 'id'), (select max(id) from orders))");
        if (! Schema::hasColumn('customers', 'tag_id')) {
            Schema::table('customers', function (Blueprint $table) {
                $table->foreignId('tag_id')->nullable()->constrained();
            });
        }
    }
};
