from __future__ import annotations

testinfra_hosts = ["ansible://role_hosts"]


def test_who_leaves_the_list_cannot_log_in(host):
    assert host.user("jane").exists
    assert host.check_output("getent shadow jane").split(":")[7] == "1"
    assert not host.file("/etc/sudoers.d/slipway-jane").exists
    assert not host.file("/etc/sudoers.d/slipway-deploy").exists
    assert host.file("/home/jane/.ssh/authorized_keys").exists


def test_who_is_absent_is_gone_but_not_the_files(host):
    assert not host.user("backup-agent").exists
    assert host.file("/home/backup-agent").exists


def test_the_user_of_the_application(host):
    assert host.user("app").shell == "/bin/sh"
    assert "www-data" in host.user("app").groups
    assert [line.split()[-1] for line in host.file("/home/app/.ssh/authorized_keys").content_string.splitlines()] == [
        "second"
    ]
    assert host.user("deploy").shell == "/usr/sbin/nologin"
    assert host.check_output("su - app -c 'ulimit -n'") == "8192"


def test_clock_and_language(host):
    assert host.check_output("date +%Z") in ("CET", "CEST")
    assert "de_DE.utf8" in host.check_output("locale -a").splitlines()
    assert host.file("/etc/default/locale").content_string == "LANG=de_DE.UTF-8\n"
    assert host.package("chrony").is_installed
    assert not host.file("/etc/systemd/timesyncd.conf.d/zz-slipway.conf").exists
    assert "server ntp.lab.test iburst" in host.file("/etc/chrony/sources.d/slipway.sources").content_string


def test_swap_is_made_as_far_as_a_container_can(host):
    swap = host.file("/var/swap")
    assert (swap.size, swap.mode, swap.user) == (16 * 1024 * 1024, 0o600, "root")
    assert host.check_output("blkid -o value -s TYPE /var/swap") == "swap"
    assert host.check_output("grep -c '^/var/swap none swap sw' /etc/fstab") == "1"


def test_kernel(host):
    assert host.sysctl("net.ipv4.tcp_fin_timeout") == 20
    assert host.sysctl("net.ipv4.tcp_syncookies") == 2
    assert host.file("/etc/modprobe.d/slipway.conf").content_string.count("install ") == 1


def test_files_that_are_not_wanted_any_more_are_gone(host):
    assert not host.file("/etc/profile.d/slipway.sh").exists
    assert not host.file("/etc/systemd/coredump.conf.d/zz-slipway.conf").exists


def test_ssh(host):
    found = host.check_output("sshd -T -C user=app,host=localhost,addr=127.0.0.1").splitlines()
    assert {"port 22", "port 2222", "maxauthtries 2", "x11forwarding yes"} <= set(found)
    assert [line for line in found if line.startswith("hostkey ")] == ["hostkey /etc/ssh/ssh_host_ed25519_key"]
    assert not any(line.startswith("allowusers ") for line in found)
    assert host.socket("tcp://0.0.0.0:2222").is_listening
    assert host.file("/etc/issue.net").content_string == "Hands off.\n"


def test_logs(host):
    assert "SystemMaxUse=64M" in host.check_output("systemd-analyze cat-config systemd/journald.conf")
    assert 'rotating pattern: "/var/log/app/*.log"' in host.run("logrotate -d /etc/logrotate.conf").stderr


def test_updates(host):
    found = host.check_output("apt-config dump").splitlines()
    assert {
        'Unattended-Upgrade::Automatic-Reboot "true";',
        'Unattended-Upgrade::Automatic-Reboot-Time "05:45";',
        'Unattended-Upgrade::Automatic-Reboot-WithUsers "false";',
        'Unattended-Upgrade::Update-Days:: "Mon";',
    } <= set(found)
    assert len([line for line in found if line.startswith("Unattended-Upgrade::Origins-Pattern:: ")]) == 1
    timer = host.file("/etc/systemd/system/apt-daily-upgrade.timer.d/slipway.conf").content_string
    assert "OnCalendar=*-*-* 05:15" in timer
    assert "'a'" in host.file("/etc/needrestart/conf.d/slipway.conf").content_string
    assert "CRON_CHECK=monthly" in host.file("/etc/default/debsums").content_string
