from __future__ import annotations

testinfra_hosts = ["ansible://role_hosts"]


def sshd(host) -> dict[str, str]:
    lines = host.check_output("sshd -T -C user=deploy,host=localhost,addr=127.0.0.1").splitlines()
    return dict(line.split(" ", 1) for line in lines if " " in line)


def test_users_have_their_keys_and_no_more_sudo_than_asked(host):
    deploy = host.user("deploy")
    assert (deploy.shell, deploy.home) == ("/bin/bash", "/home/deploy")
    assert host.file("/home/deploy/.ssh/authorized_keys").content_string.split()[-1] == "first"
    assert host.file("/home/deploy").mode == 0o750
    assert "backup" in host.user("backup-agent").groups
    rights = {name: host.check_output("sudo -l -U %s", name) for name in ("deploy", "jane", "backup-agent")}
    assert rights["deploy"].splitlines()[-1].strip() == "(root) NOPASSWD: /usr/bin/systemctl reload caddy.service"
    assert rights["jane"].splitlines()[-1].strip() == "(ALL : ALL) NOPASSWD: ALL"
    assert rights["backup-agent"].splitlines()[-1].strip() == "(root) NOPASSWD: /usr/bin/restic backup *"
    assert host.file("/etc/sudoers.d/slipway-deploy").mode == 0o440


def test_the_drop_in_wins_over_that_of_the_provider(host):
    found = sshd(host)
    assert found["passwordauthentication"] == "no"
    assert found["maxauthtries"] == "3"
    assert found["permitrootlogin"] == "without-password"
    assert found["banner"] == "/etc/issue.net"
    assert "sha1" not in found["macs"] + found["kexalgorithms"]
    assert "nistp" not in found["kexalgorithms"] + found["hostkeyalgorithms"]
    assert int(host.check_output("awk '/^[0-9]/ && $5 < 3071' /etc/ssh/moduli | wc -l")) == 0
    assert int(host.check_output("grep -c '^[0-9]' /etc/ssh/moduli")) > 100


def test_a_fresh_login_answers_with_strong_keys_only(host):
    shown = host.check_output(
        "ssh-keyscan -t ed25519,rsa,ecdsa 127.0.0.1 2>/dev/null | grep -v '^#' | cut -d' ' -f2 | sort -u"
    ).split()
    assert shown == ["ssh-ed25519", "ssh-rsa"]


def test_clock_and_language(host):
    assert host.check_output("readlink /etc/localtime").endswith("/Etc/UTC")
    assert host.file("/etc/default/locale").content_string == "LANG=C.UTF-8\n"
    # The clock is that of the machine around the container.
    assert host.package("systemd-timesyncd").is_installed


def test_the_kernel_has_what_a_container_may_set(host):
    for key, value in {"conf.all.rp_filter": 1, "conf.all.log_martians": 1, "tcp_max_syn_backlog": 4096}.items():
        assert host.sysctl(f"net.ipv4.{key}") == value
    assert "kernel.kptr_restrict = 2\n" in host.file("/etc/sysctl.d/zz-slipway.conf").content_string
    assert not host.file("/swapfile").exists


def test_logs_are_limited(host):
    assert "SystemMaxUse=500M" in host.check_output("systemd-analyze cat-config systemd/journald.conf")
    assert host.file("/var/log/journal").is_directory
    shown = host.run("logrotate --debug /etc/logrotate.conf").stderr
    assert "log files >= 209715200 are rotated earlier" in shown
    assert "error" not in shown


def test_nothing_dumps_core_and_shells_end(host):
    shown = host.check_output("su - deploy -c 'ulimit -Hc; echo $TMOUT'").splitlines()
    assert shown == ["0", "3600"]


def test_updates_install_themselves(host):
    assert 'APT::Periodic::Unattended-Upgrade "1";' in host.check_output("apt-config dump").splitlines()
    host.run_test("unattended-upgrade --dry-run")
    # The timers themselves are masked in the lab's images.
    timer = host.file("/etc/systemd/system/apt-daily-upgrade.timer.d/slipway.conf").content_string
    assert "OnCalendar=*-*-* 03:00" in timer


def test_only_root_reads_what_is_roots(host):
    assert host.file("/etc/cron.daily").mode == 0o700
    assert host.file("/etc/ssh/sshd_config").mode == 0o600
