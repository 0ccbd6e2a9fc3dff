<?php

require_once '/usr/share/php/Illuminate/autoload.php';
