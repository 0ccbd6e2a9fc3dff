#!/bin/sh
# A repository with PHP 8.1, which is the distribution's under another number, signed; and an installer of Composer.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends gpg gpg-agent >/dev/null
root=/srv/repository binary=dists/lab/main/binary-$(dpkg --print-architecture)
mkdir -p "$root/$binary" && cd "$root"

package() { # name, description of what it depends on; its tree is in tree/
  mkdir -p tree/DEBIAN
  cat >tree/DEBIAN/control <<END
Package: php8.1-$1
Version: 8.1.99
Architecture: all
Maintainer: Lab <lab@lab.test>
Description: stand-in
${2:-}
END
  sed -i '/^$/d' tree/DEBIAN/control
  dpkg-deb -Znone --root-owner-group -b tree "php8.1-$1.deb" >/dev/null
  { cat tree/DEBIAN/control; echo "Filename: php8.1-$1.deb"; echo "Size: $(stat -c %s "php8.1-$1.deb")"
    echo "SHA256: $(sha256sum "php8.1-$1.deb" | cut -d ' ' -f 1)"; echo; } >>"$binary/Packages"
  rm -r tree
}

for sapi in fpm cli; do
  mkdir -p tree/DEBIAN "tree/etc/php/8.1/$sapi/conf.d" tree/usr/bin tree/usr/sbin
  cat >tree/DEBIAN/postinst <<END
#!/bin/sh
set -e
own=\$(ls -d /etc/php/8.[24])
cp \$own/$sapi/php.ini /etc/php/8.1/$sapi/
cp -L \$own/$sapi/conf.d/[0-8]*.ini \$own/$sapi/conf.d/9[0-8]*.ini /etc/php/8.1/$sapi/conf.d/ 2>/dev/null || true
END
  if [ $sapi = cli ]; then
    cat >tree/usr/bin/php8.1 <<'END'
#!/bin/sh
PHP_INI_SCAN_DIR=/etc/php/8.1/cli/conf.d exec /usr/bin/php8.[24] -c /etc/php/8.1/cli/php.ini "$@"
END
    echo 'update-alternatives --quiet --install /usr/bin/php php /usr/bin/php8.1 81' >>tree/DEBIAN/postinst
  else
    mkdir -p tree/usr/lib/systemd/system tree/etc/php/8.1/fpm/pool.d
    cat >tree/usr/sbin/php-fpm8.1 <<'END'
#!/bin/sh
export PHP_INI_SCAN_DIR=/etc/php/8.1/fpm/conf.d
exec /usr/sbin/php-fpm8.[24] -c /etc/php/8.1/fpm/php.ini --fpm-config /etc/php/8.1/fpm/php-fpm.conf "$@"
END
    printf '[global]\npid = /run/php/php8.1-fpm.pid\nerror_log = /var/log/php8.1-fpm.log\n%s\n' \
      'include = /etc/php/8.1/fpm/pool.d/*.conf' >tree/etc/php/8.1/fpm/php-fpm.conf
    printf '[www]\nuser = www-data\nlisten = /run/php/php8.1-fpm.sock\npm = ondemand\npm.max_children = 2\n' \
      >tree/etc/php/8.1/fpm/pool.d/www.conf
    printf '[Service]\nType=notify\nExecStart=/usr/sbin/php-fpm8.1 --nodaemonize\nExecReload=/bin/kill -USR2 $MAINPID\n%s\n' \
      '[Install]
WantedBy=multi-user.target' >tree/usr/lib/systemd/system/php8.1-fpm.service
    echo 'systemctl daemon-reload; systemctl enable --quiet --now php8.1-fpm' >>tree/DEBIAN/postinst
  fi
  find tree/usr -type f -path '*bin/*' -exec chmod 0755 {} +
  chmod 0755 tree/DEBIAN/postinst
  package $sapi
done
for name in mysql opcache apcu; do package $name; done

cat >dists/lab/Release <<END
Suite: lab
Codename: lab
Architectures: $(dpkg --print-architecture)
Components: main
Date: $(LC_ALL=C date -Ru)
SHA256:
 $(sha256sum "$binary/Packages" | cut -d ' ' -f 1) $(stat -c %s "$binary/Packages") ${binary#dists/lab/}/Packages
END
export GNUPGHOME=/root/repository-key
mkdir -p -m 0700 $GNUPGHOME
gpg -q --batch --passphrase '' --quick-generate-key repository@lab.test rsa2048 sign never 2>/dev/null
gpg -q --batch --clear-sign -o dists/lab/InRelease dists/lab/Release
gpg -q --batch --export >key.gpg

cat >installer <<'END'
<?php
$given = getopt('', ['quiet', 'install-dir:', 'filename:', 'version:']);
$program = "#!/bin/sh\necho 'Composer version {$given['version']} 2026-01-01 00:00:00'\n";
file_put_contents("{$given['install-dir']}/{$given['filename']}", $program);
chmod("{$given['install-dir']}/{$given['filename']}", 0755);
END
sha384sum installer | cut -d ' ' -f 1 >installer.sig
sha384sum key.gpg | cut -d ' ' -f 1 >other.sig
# A directory that file permissions alone would leave open to the pool.
install -d -m 0777 /etc/open
gpg --batch --with-colons --list-keys | awk -F: '$1 == "fpr" { print $10; exit }'
