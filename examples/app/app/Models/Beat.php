<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;

class Beat extends Model
{
    public const UPDATED_AT = null;

    protected $fillable = ['release', 'host'];
}
