<?php

namespace App;

/**
 * A small server of the protocol that Reverb speaks to browsers: handshake, "pusher:connection_established", pings.
 * It stands in for Laravel Reverb, which no distribution packages, and knows nothing of the framework.
 */
final class WebSocketServer
{
    private const KEY = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

    /** @var array<int, resource> */
    private array $sockets = [];

    /** @var array<int, string> what was read and not yet understood */
    private array $read = [];

    /** @var array<int, bool> */
    private array $open = [];

    /** @param string[] $origins host names whose pages may connect; '*' is any */
    public function __construct(private string $host, private int $port, private array $origins = ['*'])
    {
    }

    /** Serve until $stop returns true, then say goodbye to every connection. */
    public function run(callable $stop): void
    {
        $context = stream_context_create(['socket' => ['backlog' => 511]]);
        $server = stream_socket_server(
            "tcp://$this->host:$this->port",
            $code,
            $error,
            STREAM_SERVER_BIND | STREAM_SERVER_LISTEN,
            $context
        );
        while (! $stop()) {
            $ready = [$server, ...$this->sockets];
            $none = null;
            // A signal ends the wait with a warning.
            if (! @stream_select($ready, $none, $none, 0, 200000)) {
                continue;
            }
            foreach ($ready as $socket) {
                $socket === $server ? $this->accept($server) : $this->receive($socket);
            }
        }
        fclose($server);
        foreach ($this->sockets as $socket) {
            $this->send($socket, pack('n', 1001).'Server is stopping', 8);
            $this->drop($socket);
        }
    }

    /** @param resource $server */
    private function accept($server): void
    {
        if ($socket = @stream_socket_accept($server, 0)) {
            stream_set_blocking($socket, false);
            $this->sockets[(int) $socket] = $socket;
            $this->read[(int) $socket] = '';
            $this->open[(int) $socket] = false;
        }
    }

    /** @param resource $socket */
    private function receive($socket): void
    {
        $id = (int) $socket;
        $data = (string) @fread($socket, 65536);
        if ($data === '' || strlen($this->read[$id]) > 1000000) {
            $this->drop($socket);

            return;
        }
        $this->read[$id] .= $data;
        if (! $this->open[$id] && str_contains($this->read[$id], "\r\n\r\n")) {
            [$head, $this->read[$id]] = explode("\r\n\r\n", $this->read[$id], 2);
            $this->handshake($socket, $head);
        }
        while (isset($this->sockets[$id]) && $this->open[$id] && $frame = $this->frame($id)) {
            $this->answer($socket, ...$frame);
        }
    }

    /** @param resource $socket */
    private function handshake($socket, string $head): void
    {
        preg_match_all('/^([\w-]+):\s*(.*?)\s*$/m', $head, $lines);
        $headers = array_combine(array_map('strtolower', $lines[1]), $lines[2]);
        preg_match('#^GET (/\S*)#', $head, $path);
        if (($path[1] ?? '') === '/up') {
            $this->refuse($socket, '200 OK', '{"health":"OK"}');
        } elseif (! preg_match('#^/app/[\w-]+(\?|$)#', $path[1] ?? '')) {
            $this->refuse($socket, '404 Not Found', 'Not found.');
        } elseif (strtolower($headers['upgrade'] ?? '') !== 'websocket' || ! isset($headers['sec-websocket-key'])) {
            $this->refuse($socket, '426 Upgrade Required', 'This is a websocket.');
        } else {
            $accept = base64_encode(sha1($headers['sec-websocket-key'].self::KEY, true));
            $this->write($socket, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                ."Sec-WebSocket-Accept: $accept\r\nX-Powered-By: Slipway's stand-in for Laravel Reverb\r\n\r\n");
            $this->open[(int) $socket] = true;
            $this->welcome($socket, (string) parse_url($headers['origin'] ?? '', PHP_URL_HOST));
        }
    }

    /** @param resource $socket */
    private function welcome($socket, string $origin): void
    {
        foreach ($this->origins as $pattern) {
            if (fnmatch($pattern, $origin)) {
                $data = json_encode(['socket_id' => random_int(1, 999999999).'.'.(int) $socket, 'activity_timeout' => 30]);
                $this->event($socket, 'pusher:connection_established', $data);

                return;
            }
        }
        $this->event($socket, 'pusher:error', json_encode(['code' => 4009, 'message' => 'Origin not allowed']));
        $this->drop($socket);
    }

    /**
     * Take one whole frame of a client from what was read.
     *
     * @return array{int, string}|null its kind and content
     */
    private function frame(int $id): ?array
    {
        $data = $this->read[$id];
        if (strlen($data) < 6) {
            return null;
        }
        $length = ord($data[1]) & 127;
        $at = [126 => 4, 127 => 10][$length] ?? 2;
        if (strlen($data) < $at + 4) {
            return null;
        }
        $length = $at === 2 ? $length : unpack($at === 4 ? 'n' : 'J', substr($data, 2, $at - 2))[1];
        if (strlen($data) < $at + 4 + $length) {
            return null;
        }
        $mask = substr($data, $at, 4);
        $content = substr($data, $at + 4, $length);
        $this->read[$id] = substr($data, $at + 4 + $length);

        return [ord($data[0]) & 15, $content ^ str_pad('', strlen($content), $mask)];
    }

    /** @param resource $socket */
    private function answer($socket, int $kind, string $content): void
    {
        if ($kind === 8) {
            $this->send($socket, substr($content, 0, 2), 8);
            $this->drop($socket);
        } elseif ($kind === 9) {
            $this->send($socket, $content, 10);
        } elseif ($kind === 1 && (json_decode($content, true)['event'] ?? '') === 'pusher:ping') {
            $this->event($socket, 'pusher:pong', '{}');
        }
    }

    /** @param resource $socket */
    private function event($socket, string $name, string $data): void
    {
        $this->send($socket, json_encode(['event' => $name, 'data' => $data]), 1);
    }

    /** @param resource $socket */
    private function send($socket, string $content, int $kind): void
    {
        $length = strlen($content);
        $this->write($socket, chr(128 | $kind).($length < 126 ? chr($length) : chr(126).pack('n', $length)).$content);
    }

    /** @param resource $socket */
    private function refuse($socket, string $status, string $body): void
    {
        $length = strlen($body);
        $this->write($socket, "HTTP/1.1 $status\r\nContent-Length: $length\r\nConnection: close\r\n\r\n$body");
        $this->drop($socket);
    }

    /** @param resource $socket */
    private function write($socket, string $data): void
    {
        @fwrite($socket, $data);
    }

    /** @param resource $socket */
    private function drop($socket): void
    {
        $id = (int) $socket;
        unset($this->sockets[$id], $this->read[$id], $this->open[$id]);
        @fclose($socket);
    }
}
