#!/bin/sh
# A repository with Node 99, which is the distribution's under another number, signed and served on port 8999.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends gpg gpg-agent >/dev/null
mkdir -p /srv/repository/node_99.x/dists/nodistro/main/binary-amd64 /srv/repository/deb
cd /srv/repository/deb
chown _apt .
apt-get download -qq nodejs
dpkg-deb -R nodejs_*.deb tree
rm nodejs_*.deb tree/DEBIAN/md5sums tree/DEBIAN/p*
# The program and its link, in the order that the distribution has.
program=$(readlink -f tree/usr/bin/node)
mv "$program" tree/usr/bin/node-distribution
rm -f tree/usr/bin/node tree/usr/bin/nodejs
printf '#!/bin/sh\nif [ "${1:-}" = --version ]; then echo v99.1.0; else exec /usr/bin/node-distribution "$@"; fi\n' >tree/usr/bin/node
chmod 0755 tree/usr/bin/node
sed -i 's/^Version: .*/Version: 99.1.0-1nodesource1/' tree/DEBIAN/control
pool=../node_99.x/nodejs_99.1.0-1nodesource1_amd64.deb
dpkg-deb -Znone --root-owner-group -b tree $pool >/dev/null
cd ../node_99.x
packages=dists/nodistro/main/binary-amd64/Packages
{
  cat ../deb/tree/DEBIAN/control
  echo "Filename: $(basename $pool)"
  echo "Size: $(stat -c %s "$(basename $pool)")"
  echo "SHA256: $(sha256sum "$(basename $pool)" | cut -d ' ' -f 1)"
} >$packages
rm -rf ../deb
cat >dists/nodistro/Release <<END
Origin: . nodistro
Suite: nodistro
Codename: nodistro
Architectures: amd64
Components: main
Date: $(LC_ALL=C date -Ru)
SHA256:
 $(sha256sum $packages | cut -d ' ' -f 1) $(stat -c %s $packages) main/binary-amd64/Packages
END
export GNUPGHOME=/root/repository-key
mkdir -p -m 0700 $GNUPGHOME
gpg -q --batch --passphrase '' --quick-generate-key repository@lab.test rsa2048 sign never 2>/dev/null
gpg -q --batch --clear-sign -o dists/nodistro/InRelease dists/nodistro/Release
gpg -q --batch --armor --export >../key.asc
systemd-run -q --unit slipway-repository --working-directory /srv/repository \
  python3 -m http.server --bind 127.0.0.1 8999
gpg --batch --with-colons --list-keys | awk -F: '$1 == "fpr" { print $10; exit }'
