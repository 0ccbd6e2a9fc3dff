"""Check mode on a host that nothing was done to yet."""

testinfra_hosts = ["ansible://laravel"]


def test_site_can_be_checked_on_a_fresh_host(play, host):
    checked = play("site.yml", "--check", "--diff")
    assert checked.status == 0, checked.errors
    assert checked.changed > 0
    assert not host.package("nginx").is_installed
    assert not host.user("deploy").exists
