<?php

// By include_path: /usr/share/php where the distribution's package is installed.
require_once 'Illuminate/autoload.php';
