#!/bin/sh
# What another tool left: lay_down.sh deployer|capistrano|envoyer PORT. The code that is live under /var/www/logbook becomes two
# releases as that tool makes them, with a web site and a worker of its own, by files that a person would have written.
set -eu
tool=$1 port=$2 root=/var/www/$1
old=20260105090000 live=20260202090000 base=$root/shared shared=storage
case $tool in
  deployer) old=1 live=2 ;;
  capistrano) shared='storage/app storage/logs storage/framework/sessions' ;;
  envoyer) base=$root ;;
esac
[ "$tool" = deployer ] && current=releases/$live || current=$root/releases/$live

mkdir -p "$base/storage"
cp -a /var/www/logbook/shared/.env "$base/.env"
cp -a /var/www/logbook/shared/storage/. "$base/storage/"
for release in $old $live; do
  path=$root/releases/$release
  mkdir -p "$path"
  cp -a /var/www/logbook/current/. "$path/"
  rm -rf "$path/.slipway.json" "$path/.env" "$path/storage" "$path/public/storage" "$path"/bootstrap/cache/*
  mkdir -p "$path/storage/framework/cache/data" "$path/storage/framework/views" "$path/storage/app"
  for name in $shared; do
    rm -rf "${path:?}/$name"
    mkdir -p "$(dirname "$path/$name")"
    ln -s "$base/$name" "$path/$name"
  done
  ln -s "$base/.env" "$path/.env"
  ln -s ../storage/app/public "$path/public/storage"
done
ln -s "$current" "$root/current"

if [ "$tool" = deployer ]; then
  mkdir "$root/.dep"
  git init --quiet --bare "$root/.dep/repo"
  echo $live >"$root/.dep/latest_release"
  for release in $old $live; do
    printf '{"created_at":"2026-0%s-05T09:00:00+0000","release_name":"%s","user":"dev","target":"main"}\n' \
      "$release" "$release"
  done >"$root/.dep/releases_log"
elif [ "$tool" = capistrano ]; then
  git init --quiet --bare "$root/repo"
  for release in $old $live; do
    echo 0123456789abcdef0123456789abcdef01234567 >"$root/releases/$release/REVISION"
    echo "Branch main (at 0123456) deployed as release $release by dev" >>"$root/revisions.log"
  done
fi
chown -R --no-dereference deploy:deploy "$root"
for command in config:cache route:cache; do
  runuser -u deploy -- php "$root/releases/$live/artisan" $command >/dev/null
done

cat >"/etc/nginx/conf.d/$tool.conf" <<END
server {
    listen 127.0.0.1:$port;
    root $root/current/public;
    index index.php;
    location / { try_files \$uri /index.php?\$query_string; }
    location ~ \\.php\$ {
        include fastcgi_params;
        fastcgi_pass unix:/run/php/logbook.sock;
        fastcgi_param SCRIPT_FILENAME \$realpath_root\$fastcgi_script_name;
        fastcgi_param DOCUMENT_ROOT \$realpath_root;
    }
}
END
nginx -q -t
systemctl reload nginx

cat >"/etc/supervisor/conf.d/$tool-worker.conf" <<END
[program:$tool-worker]
command=php artisan queue:work redis --sleep=1
directory=$root/current
user=deploy
stopwaitsecs=60
END
supervisorctl update >/dev/null
echo "deploy ALL=(root) NOPASSWD: /usr/bin/supervisorctl start $tool-worker" >"/etc/sudoers.d/$tool"
chmod 0440 "/etc/sudoers.d/$tool"
