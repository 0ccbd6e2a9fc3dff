<?php

return [
    'defaults' => [
        'supervisor-1' => [
            'connection' => env('QUEUE_CONNECTION', 'redis'),
            'queue' => ['default'],
            'tries' => 3,
            'timeout' => 60,
        ],
    ],
    'environments' => [
        'production' => ['supervisor-1' => ['processes' => 2]],
        'local' => ['supervisor-1' => ['processes' => 1]],
    ],
];
