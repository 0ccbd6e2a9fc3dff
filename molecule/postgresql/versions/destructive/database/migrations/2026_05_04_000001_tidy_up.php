<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up(): void
    {
        DB::statement('drop view sent');
        Schema::table('orders', function (Blueprint $table) {
            $table->dropColumn('state');
        });
        DB::statement('drop type order_state');
        DB::statement('alter table customers rename column name to full_name');
        if (version_compare(app()->version(), '11', '>=')) {
            Schema::table('customers', function (Blueprint $table) {
                $table->string('code', 5)->nullable()->change();
            });
        } else {
            // Older ones cannot do it by themselves.
            DB::statement('alter table customers alter column code type varchar(5)');
        }
        Schema::rename('visits', 'views');
        Schema::drop('tags_of_old');
        DB::statement('select half(2)');
        DB::table('orders')->where('amount', '<', 3)->delete();
    }
};
