<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up(): void
    {
        DB::statement("create type order_state as enum ('new', 'sent')");
        Schema::create('customers', function (Blueprint $table) {
            $table->id();
            $table->string('name');
            $table->string('code', 20)->nullable();
            $table->jsonb('told')->nullable();
        });
        DB::statement('alter table customers add column email citext');
        Schema::create('orders', function (Blueprint $table) {
            $table->id();
            $table->foreignId('customer_id')->constrained();
            $table->decimal('amount', 8, 2);
            $table->timestampTz('at')->nullable();
        });
        DB::statement("alter table orders add column state order_state not null default 'new'");
        DB::statement("create view sent as select * from orders where state = 'sent'");
        Schema::create('events', function (Blueprint $table) {
            $table->id();
            $table->string('said');
        });
        DB::statement('create table visits (at date not null, page text) partition by range (at)');
        DB::statement("create table visits_2026 partition of visits for values from ('2026-01-01') to ('2027-01-01')");
    }
};
