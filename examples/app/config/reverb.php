<?php

return [
    'servers' => [
        'reverb' => [
            'host' => env('REVERB_SERVER_HOST', '127.0.0.1'),
            'port' => env('REVERB_SERVER_PORT', 8080),
            'scaling' => ['enabled' => env('REVERB_SCALING_ENABLED', false)],
        ],
    ],
    'apps' => [
        'apps' => [
            [
                'key' => env('REVERB_APP_KEY', 'logbook'),
                'allowed_origins' => explode(',', env('REVERB_ALLOWED_ORIGINS', '*')),
            ],
        ],
    ],
];
