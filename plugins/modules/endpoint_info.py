#!/usr/bin/python
# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint_info
short_description: Tell how an HTTP endpoint answers
version_added: 0.1.0
description:
  - Asks one address as a browser would, and returns as evidence what was found on the way. These are the addresses in
    the DNS, the certificate and the versions of TLS, redirects, status, headers and latency.
  - Judges nothing. An endpoint that does not answer is a result with RV(reachable) C(false) and RV(error); only an
    address that is none is a failure. M(ansible.builtin.assert) judges.
  - What an address has before an C(@), behind a C(?) or a C(#), the values of cookies, and those in O(headers), are
    never shown.
author:
  - The slipway.laravel authors (@slipway)
options:
  url:
    description:
      - Address to ask, by C(http) or C(https). A user and password in it are sent as basic authentication.
    type: str
    required: true
  address:
    description:
      - Name or address, and maybe C(:port), to connect to instead of the one in O(url), so that one host behind a load
        balancer can be asked. The header C(Host) and the name that TLS asks for stay those of O(url).
      - Redirects to the same name stay at this address; the port is then that of the redirect.
    type: str
    default: ""
  method:
    description:
      - Method of the request.
    type: str
    choices: [GET, HEAD, OPTIONS]
    default: GET
  headers:
    description:
      - Headers to send. They are sent again after a redirect only to the same name.
      - Without an C(Accept-Encoding) here C(gzip) is offered.
    type: dict
    default: {}
  contains:
    description:
      - Text to look for in the first MiB of the page that the redirects end at. It is compared as UTF-8.
    type: str
    default: ""
  redirects:
    description:
      - Number of redirects to follow at most.
    type: int
    default: 5
  timeout:
    description:
      - Seconds for each request, and for each look at the certificate and at a version of TLS. The lookup of a name in
        the DNS has the time that the host's resolver gives it.
    type: int
    default: 10
  tls_versions:
    description:
      - Whether to try each version of TLS, which costs up to four connections.
    type: bool
    default: false
  validate_certs:
    description:
      - Whether nothing is asked where the certificate is not to be trusted. It is described in either case.
    type: bool
    default: true
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Look at the site through its front door
  slipway.laravel.endpoint_info:
    url: https://shop.example.com/up
    tls_versions: true
  register: site

- name: Judge it
  ansible.builtin.assert:
    that:
      - site.status == 200
      - site.certificate.verified and site.certificate.days_left >= 14
      - not site.tls_versions["TLSv1.0"]
      - site.hsts.max_age >= 31536000

- name: Look at one host behind the load balancer
  slipway.laravel.endpoint_info:
    url: https://shop.example.com/up
    address: 127.0.0.1
    contains: well
"""

RETURN = r"""
url:
  description: Address that was asked, without what may be secret in it.
  returned: success
  type: str
final_url:
  description: Address that the redirects ended at.
  returned: success
  type: str
reachable:
  description: Whether an answer came, whatever its status.
  returned: success
  type: bool
error:
  description: Why none came, empty when one did.
  returned: success
  type: str
dns:
  description: The C(addresses) of the name in O(url), and the C(error) when it has none.
  returned: success
  type: dict
  sample: {"addresses": ["192.0.2.10"], "error": ""}
peer:
  description: Address and port that the last request was connected to, empty when no connection came about.
  returned: success
  type: str
  sample: 192.0.2.10:443
status:
  description: Status of the last answer, null when none came.
  returned: success
  type: int
headers:
  description:
    - Headers of the last answer, with lower-case names. Several of one name are one to a line.
    - Of cookies only the names and attributes are shown.
  returned: success
  type: dict
redirects:
  description: The answers that led elsewhere, in order, each with C(url), C(status) and C(location).
  returned: success
  type: list
  elements: dict
contains:
  description: Whether O(contains) was found, null when none was given or the page came in an unknown encoding.
  returned: success
  type: bool
compression:
  description: Encoding that the last answer came in, such as C(gzip), empty for none.
  returned: success
  type: str
milliseconds:
  description:
    - How long the parts of the last request took, as far as it came. C(first_byte) counts from the request to the
      headers of the answer, C(total) from the lookup of the name to the end of the page.
  returned: success
  type: dict
  sample: {"dns": 1.2, "connect": 0.4, "tls": 3.1, "first_byte": 24.8, "total": 30.2}
tls:
  description: The C(version) and C(cipher) of the last request, null without TLS.
  returned: success
  type: dict
  sample: {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384"}
certificate:
  description:
    - The certificate that is served for the last name; null without TLS. C(verified) is whether its chain leads to an
      authority that this host trusts, it is valid today, and it is for this name; C(error) says why not.
    - Where none was shown it has only C(verified) and C(error).
  returned: success
  type: dict
  sample:
    subject: CN=shop.example.com
    issuer: C=US, O=Let's Encrypt, CN=R11
    names: [shop.example.com]
    not_before: "2026-10-01T00:00:00Z"
    not_after: "2026-12-30T00:00:00Z"
    days_left: 38
    verified: true
    error: ""
tls_versions:
  description:
    - Whether each version is accepted for the last name, null where the OpenSSL of this host cannot try it or nobody
      answered. Null as a whole without TLS, or without O(tls_versions).
  returned: success
  type: dict
  sample: {"TLSv1.0": false, "TLSv1.1": false, "TLSv1.2": true, "TLSv1.3": true}
hsts:
  description: The header Strict-Transport-Security taken apart, null when there is none that browsers heed.
  returned: success
  type: dict
  sample: {"max_age": 31536000, "include_subdomains": true, "preload": false}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.laravel.plugins.module_utils._endpoint import Target, shown
from ansible_collections.slipway.laravel.plugins.module_utils._look import look


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True, "no_log": True},
            "address": {"type": "str", "default": ""},
            "method": {"type": "str", "choices": ["GET", "HEAD", "OPTIONS"], "default": "GET"},
            "headers": {"type": "dict", "default": {}, "no_log": True},
            "contains": {"type": "str", "default": ""},
            "redirects": {"type": "int", "default": 5},
            "timeout": {"type": "int", "default": 10},
            "tls_versions": {"type": "bool", "default": False},
            "validate_certs": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    url: str = module.params["url"]
    headers = {str(name): str(value) for name, value in module.params["headers"].items()}
    # no_log keeps them out of the log of the host. Left to itself it would also blot every place that the address is
    # rightly named in, and the result has them by params.
    module.no_log_values.clear()
    module.params["url"], module.params["headers"] = "", dict.fromkeys(headers, "...")
    try:
        module.params["url"] = shown(Target(url).url)
    except ValueError as exc:
        module.fail_json(msg=f"url is no address: {exc}")
    module.exit_json(changed=False, **look(**{**module.params, "url": url, "headers": headers}))


if __name__ == "__main__":
    main()
