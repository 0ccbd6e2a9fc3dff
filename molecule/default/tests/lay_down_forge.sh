#!/bin/sh
# What Forge left: lay_down_forge.sh PORT. The code that is live under /var/www/logbook becomes a checkout in
# /var/www/forge.example.com that is served as it is, with its .env, its storage and a worker. Forge has it below
# /home/forge, which is the home of a user; everything else is as Forge makes it.
set -eu
port=$1 site=/var/www/forge.example.com
mkdir -p "$site"
cp -a /var/www/logbook/current/. "$site/"
rm -rf "$site/.slipway.json" "$site/.env" "$site/storage" "$site/public/storage" "$site"/bootstrap/cache/*
cp -a /var/www/logbook/shared/.env "$site/.env"
cp -a /var/www/logbook/shared/storage/. "$site/storage/"
ln -s ../storage/app/public "$site/public/storage"
git init --quiet "$site"
chown -R --no-dereference deploy:deploy "$site"
for command in config:cache route:cache; do
  runuser -u deploy -- php "$site/artisan" $command >/dev/null
done

cat >/etc/nginx/conf.d/forge.conf <<END
server {
    listen 127.0.0.1:$port;
    root $site/public;
    index index.php;
    location / { try_files \$uri /index.php?\$query_string; }
    location ~ \\.php\$ {
        include fastcgi_params;
        fastcgi_pass unix:/run/php/logbook.sock;
        fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name;
    }
}
END
nginx -q -t
systemctl reload nginx

cat >/etc/supervisor/conf.d/forge-worker.conf <<END
[program:forge-worker]
command=php artisan queue:work redis --sleep=1
directory=$site
user=deploy
stopwaitsecs=60
END
supervisorctl update >/dev/null
echo "deploy ALL=(root) NOPASSWD: /usr/bin/supervisorctl start forge-worker" >/etc/sudoers.d/forge
chmod 0440 /etc/sudoers.d/forge
