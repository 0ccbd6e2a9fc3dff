#!/bin/sh
# A release of an application with PHP-FPM, a static site, servers behind, and certificates of an authority of its own.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends php-fpm curl openssl
version=$(ls /etc/php)
sed -i 's|^listen = .*|listen = /run/php/app.sock|' "/etc/php/$version/fpm/pool.d/www.conf"
systemctl restart "php$version-fpm"

public=/var/www/app/releases/20260101-1/public
mkdir -p $public/build $public/css /srv/docs/build /srv/spa
cat >$public/index.php <<'END'
<?php
if ($_SERVER['REQUEST_URI'] === '/own-header') {
    header('X-Frame-Options: DENY');
}
header('Content-Type: text/html');
$told = ['SCRIPT_FILENAME', 'DOCUMENT_ROOT', 'REMOTE_ADDR', 'HTTPS', 'REQUEST_SCHEME', 'REQUEST_URI', 'HTTP_X_REQUEST_ID'];
echo json_encode(array_intersect_key($_SERVER, array_flip($told)) + ['length' => strlen(file_get_contents('php://input'))]);
echo str_repeat(' ', 2000);
END
echo '<?php echo 1;' >$public/other.php
echo 'SECRET=1' >$public/.env
head -c 4000 /dev/zero | tr '\0' 'a' >$public/build/app-1a2b.css
head -c 4000 /dev/zero | tr '\0' 'b' >$public/build/app-1a2b.js
printf precompressed | gzip >$public/build/app-1a2b.js.gz
ln -sfn releases/20260101-1 /var/www/app/current
echo '<p>docs' >/srv/docs/index.html
echo '<p>nothing here' >/srv/docs/404.html
echo '<p>spa' >/srv/spa/index.html

mkdir -p /etc/ssl/slipway/example /root/own
cd /root
openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/CN=Lab CA' -addext keyUsage=critical,keyCertSign,cRLSign \
  -keyout ca.key -out ca.pem 2>/dev/null
for name in example own; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=www.$name.test" -keyout $name.key -out $name.csr 2>/dev/null
  {
    echo "subjectAltName=DNS:$name.test,DNS:*.$name.test"
    echo 'crlDistributionPoints=URI:http://ca.example.test/ca.crl'
    echo 'extendedKeyUsage=serverAuth'
    echo 'basicConstraints=CA:FALSE'
    echo 'keyUsage=digitalSignature'
    echo 'authorityKeyIdentifier=keyid'
  } >$name.ext
  openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 90 -extfile $name.ext \
    -out $name.pem 2>/dev/null
done
cp example.pem /etc/ssl/slipway/example/fullchain.pem
cp example.key /etc/ssl/slipway/example/privkey.pem
cp own.pem own/cert.pem
cp own.key own/key.pem
chmod 600 /etc/ssl/slipway/example/privkey.pem own/key.pem

cat >/etc/systemd/system/backend.service <<'END'
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/backend.py 3000 3001 3002
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --now backend
