"""The first certificate, issued before a web server ran, and its renewal under load once one does."""

from __future__ import annotations

import json
import re

import pytest

testinfra_hosts = ["ansible://role_hosts"]
LIVE = "/etc/letsencrypt/live/app.lab.test"
RENEWAL = "/etc/letsencrypt/renewal/app.lab.test.conf"

# Runs on the host: requests over and over, each on a connection of its own, while a command runs and a while after it.
LOAD = """
import http.client, json, ssl, subprocess, sys, threading, time
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
class Connection(http.client.HTTPSConnection):
    def connect(self):
        http.client.HTTPConnection.connect(self)
        self.sock = context.wrap_socket(self.sock, server_hostname="app.lab.test")
answered, failed, served, stop = [], [], [], threading.Event()
def load():
    while not stop.is_set():
        try:
            connection = Connection("127.0.0.1", timeout=10)
            connection.request("GET", "/", headers={"Host": "app.lab.test"})
            certificate = ssl.DER_cert_to_PEM_cert(connection.sock.getpeercert(binary_form=True))
            if certificate not in served:
                served.append(certificate)
            answer = connection.getresponse()
            (answered if (answer.status, answer.read()) == (200, b"served\\n") else failed).append(answer.status)
            connection.close()
            time.sleep(0.01)  # leaves the host some time for the renewal
        except Exception as error:
            failed.append(repr(error))
threads = [threading.Thread(target=load) for _each in range(2)]
for thread in threads: thread.start()
time.sleep(0.3)
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
time.sleep(0.7)
stop.set()
for thread in threads: thread.join()
outcome = {"answered": len(answered), "failed": failed, "served": served, "rc": done.returncode, "said": done.stderr}
print(json.dumps(outcome))
"""


@pytest.fixture(scope="module", autouse=True)
def nginx(host):
    """nginx starts after its certificate was issued, as on a bare host."""
    assert host.run("systemctl start nginx").rc == 0


def leaf(pem):
    return re.match(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", pem, re.DOTALL)[0]


def test_first_certificate_was_issued_without_a_web_server(host):
    log = host.check_output("cat /var/log/letsencrypt/letsencrypt.log*")
    assert "Plugins selected: Authenticator standalone, Installer None" in log
    renewal = host.file(RENEWAL).content_string
    assert "authenticator = webroot\n" in renewal
    assert "webroot_path = /var/www/acme," in renewal


@pytest.mark.parametrize("folder", [LIVE, "/etc/ssl/slipway/internal"])
def test_key_is_for_root_alone(host, folder):
    key = host.file(host.check_output("readlink -f %s/privkey.pem", folder))
    assert (key.user, key.group, key.mode) == ("root", "root", 0o600)


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        (LIVE, "DNS:app.lab.test, DNS:www.app.lab.test"),
        ("/etc/ssl/slipway/internal", "DNS:db.internal, IP Address:10.0.0.5"),
    ],
)
def test_names_and_key(host, folder, names):
    text = host.check_output("openssl x509 -in %s/fullchain.pem -noout -text", folder)
    assert names in text
    assert "ASN1 OID: prime256v1" in text


def test_timer_renews_after_a_boot(host):
    assert host.service("certbot.timer").is_enabled
    assert host.service("certbot.timer").is_running


def test_renewal_drops_no_request_and_is_served(host):
    old = leaf(host.file(f"{LIVE}/fullchain.pem").content_string)
    # Due at once; the run itself is the one of the timer.
    host.run("sed -i '1i renew_before_expiry = 3650 days' %s", RENEWAL)
    outcome = json.loads(host.check_output("python3 -c %s systemctl start certbot.service", LOAD))
    host.run("sed -i '/^renew_before_expiry/d' %s", RENEWAL)
    assert outcome["rc"] == 0, outcome["said"]
    assert outcome["failed"] == []
    assert outcome["answered"] > 20
    new = leaf(host.file(f"{LIVE}/fullchain.pem").content_string)
    assert new != old
    assert outcome["served"] == [old, new]


def test_certificate_that_is_not_due_leaves_nginx_alone(host):
    before = host.check_output("pgrep --parent $(cat /run/nginx.pid)")
    assert host.run("systemctl start certbot.service").rc == 0
    assert host.check_output("pgrep --parent $(cat /run/nginx.pid)") == before


def test_broken_configuration_keeps_the_old_certificate_in_use(host):
    host.run("echo nonsense >/etc/nginx/conf.d/broken.conf")
    before = host.check_output("pgrep --parent $(cat /run/nginx.pid)")
    assert host.run("/etc/letsencrypt/renewal-hooks/deploy/slipway-reload").rc == 1
    assert host.check_output("pgrep --parent $(cat /run/nginx.pid)") == before
    host.run("rm /etc/nginx/conf.d/broken.conf")
    assert host.run("/etc/letsencrypt/renewal-hooks/deploy/slipway-reload").rc == 0
