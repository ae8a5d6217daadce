"""Start servers and clients in lab guests."""
from lab import *
import cfg
def swan_start(g, conf, sc, extra_files=()):
    g.put("/etc/strongswan.conf", sc); g.put("/etc/swanctl/swanctl.conf", conf)
    for p, t in extra_files: g.put(p, t)
    g.run("/usr/lib/ipsec/charon >/job/charon.out 2>&1 & echo $! >/run/charon.mypid")
    rc, o = g.until("[ -S /run/charon.vici ] && swanctl --load-all", 15)
    if rc: raise RuntimeError(f"{g.name}: charon did not start: {o[-800:]}")
    return o
def lns_guest(lab, name="srv", addr="198.51.100.10/24", ipsec=True, kernel=True, auth="mschapv2", ipv6=False, esp="any", ike="srv", lanaddr="10.99.0.1/24", dpd=None, mtu=1280):
    g = lab.guest(name, [("inet", addr), ("lan", lanaddr)]); g.opts = dict(ipsec=ipsec, kernel=kernel, auth=auth, ipv6=ipv6, esp=esp, ike=ike, dpd=dpd, mtu=mtu); return g
def lns_up(g):
    o = g.opts
    g.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    if o["ipsec"]: swan_start(g, cfg.swan_server(o["esp"], o["ike"], dpd=o["dpd"]), cfg.strongswan_conf())
    g.put("/etc/xl2tpd/xl2tpd.conf", cfg.xl2tpd_server(o["kernel"], o["auth"])); g.put("/etc/ppp/options.lns", cfg.ppp_server(o["auth"], o["ipv6"], o["mtu"]))
    g.put("/etc/ppp/options", ""); g.put("/etc/xl2tpd/l2tp-secrets", "* * tunnelsecret\n")
    for f in ("chap-secrets", "pap-secrets"): g.put(f"/etc/ppp/{f}", cfg.chap_secrets())
    g.run("mkdir -p /run/xl2tpd; xl2tpd -D -c /etc/xl2tpd/xl2tpd.conf -p /run/xl2tpd.pid -C /run/xl2tpd/l2tp-control >/job/xl2tpd.log 2>&1 &")
    rc, _ = g.until("[ -p /run/xl2tpd/l2tp-control ]", 10)
    if rc: raise RuntimeError("xl2tpd did not start: " + open(g.dir+"/xl2tpd.log").read()[-500:])
def pluto_start(g, conf, secrets, server, name):
    g.put("/etc/ipsec.conf", conf); g.put("/etc/ipsec.secrets", secrets)
    g.run(f"a=$(ip route get {server} | sed -n 's/.* src \\([^ ]*\\).*/\\1/p'); sed -i s/%defaultroute/$a/ /etc/ipsec.conf; mkdir -p /var/lib/ipsec/nss /run/pluto; ipsec initnss --nssdir /var/lib/ipsec/nss >/job/initnss.log 2>&1; /usr/libexec/ipsec/pluto --config /etc/ipsec.conf --leak-detective >/job/pluto.out 2>&1")
    g.until("[ -S /run/pluto/pluto.ctl ] && ipsec whack --status >/dev/null", 15)
    rc, o = g.run(f"ipsec addconn --config /etc/ipsec.conf {name}", 10)
    if rc: raise RuntimeError("addconn: " + o + g.run("grep -v '|' /job/pluto.log | tail -5")[1])
class Client:
    def __init__(self, g, server="198.51.100.10", ike_impl="strongswan", ike="def", esp="any", auth="mschapv2", kernel=True, ipv6=False, user=cfg.USER, password=cfg.PASS,
                 ike_rekey="4h", esp_rekey="1h", dpd=None, encap=False, aggressive=False, tport=1701, mtu=1280, echo=10, ppp_extra="", ccp=False, challenge=False):
        self.__dict__.update(locals()); self.t = {}
    def ipsec_up(self, timeout=30):
        g, t0 = self.g, time.time()
        if self.ike_impl == "strongswan":
            swan_start(g, cfg.swan_client(self.server, self.ike, self.esp, self.ike_rekey, self.esp_rekey, self.dpd, self.aggressive, self.encap, sport=self.tport), cfg.strongswan_conf())
            self.t["daemon"] = round(time.time()-t0, 2); t0 = time.time()
            rc, o = g.run(f"swanctl --initiate --child l2tp --timeout {timeout} --loglevel 1", timeout+5)
        elif self.ike_impl == "libreswan":
            pluto_start(g, cfg.libreswan_client(self.server, self.ike, self.esp, self.ike_rekey, self.esp_rekey, self.dpd, self.encap, sport=self.tport),
                        f'%any {self.server} : PSK "{cfg.PSK}"\n: PSK "{cfg.PSK}"\n', self.server, "l2tp")
            self.t["daemon"] = round(time.time()-t0, 2); t0 = time.time()
            rc, o = g.run(f"timeout {timeout} ipsec whack --name l2tp --initiate", timeout+5)
            rc2, o2 = g.until("ip xfrm state | grep -q '^src'", 5); rc = rc or rc2
        else: return 0, ""
        self.t["ipsec"] = round(time.time()-t0, 2); return rc, o
    def l2tp_up(self, timeout=30):
        g, t0 = self.g, time.time()
        g.put("/etc/xl2tpd/xl2tpd.conf", cfg.xl2tpd_client(self.server, self.kernel, self.tport, self.challenge)); g.put("/etc/xl2tpd/l2tp-secrets", "* * tunnelsecret\n")
        g.put("/etc/ppp/options.l2tp", cfg.ppp_client(self.auth, self.user, self.password, self.ipv6, self.mtu, self.echo, self.ppp_extra, self.ccp))
        g.put("/etc/ppp/options", "")
        g.put("/etc/ppp/ip-up", '#!/bin/sh\necho "$1 $4 $5" >/run/ppp.up\n', 0o755)
        g.run("mkdir -p /run/xl2tpd; xl2tpd -D -c /etc/xl2tpd/xl2tpd.conf -p /run/xl2tpd.pid -C /run/xl2tpd/l2tp-control >/job/xl2tpd.log 2>&1 &")
        g.until("[ -p /run/xl2tpd/l2tp-control ]", 10)
        t0 = time.time()
        g.run("echo 'c vpn' >/run/xl2tpd/l2tp-control")
        rc, o = g.until("[ -s /run/ppp.up ]", timeout)
        self.t["l2tp+ppp"] = round(time.time()-t0, 2)
        if rc: return rc, o
        rc, o = g.run("cat /run/ppp.up"); self.dev, self.ip, self.peer = o.split()[:3]
        return rc, o
    def down(self):
        self.g.run("echo 'd vpn' >/run/xl2tpd/l2tp-control; sleep 0.7; kill $(cat /run/xl2tpd.pid) 2>/dev/null; sleep 0.3")
        if self.ike_impl == "strongswan": self.g.run("swanctl --terminate --ike l2tp --timeout 5", 10)
        elif self.ike_impl == "libreswan": self.g.run("ipsec whack --terminate --name l2tp; ipsec whack --shutdown", 10)
    def traffic(self, host="10.99.0.10", mb=1):
        g = self.g; res = {}
        g.run(f"ip route add {host}/32 dev {self.dev}")
        rc, o = g.run(f"ping -c 5 -i 0.2 -W 2 {host}"); m = re.search(r"(\d+) received.*", o); res["ping"] = (m.group(0) if m else o[-200:]) + " " + (re.search(r"rtt.*", o) or [""])[0]
        res["ping_rc"] = rc
        rc, o = g.run(f"ping -c 2 -i 0.2 -W 2 -M dont -s 1450 {host}"); res["ping1450_rc"] = rc     # at an MRU of 1,500 the sealed packet is two fragments
        for nm, a in (("up", ""), ("down", "-R")):
            rc, o = g.run(f"iperf3 -J -c {host} -n {mb}M {a} --connect-timeout 3000", 60)
            try: res[nm] = f"{json.loads(o)['end']['sum_received']['bits_per_second']/1e6:.1f} Mbit/s"
            except Exception: res[nm] = f"rc={rc} {o[-200:]}"
        return res
def lanhost(lab):
    lab.mkns("lan"); lab.veth("lan", "eth0", "lan", "10.99.0.10/24"); lab.ex("lan", "ip route add default via 10.99.0.1")
    for i in range(2): lab.spawn("lan", ["iperf3","-s","-p",str(5201+i)], "iperf3.log")
def evidence(g):
    rc, o = g.run("echo '# swanctl'; swanctl --list-sas 2>/dev/null; ipsec whack --trafficstatus 2>/dev/null; echo '# xfrm state'; ip -s xfrm state; echo '# policy'; ip xfrm policy; echo '# l2tp'; ip l2tp show tunnel 2>&1; ip l2tp show session 2>&1; cat /proc/net/pppol2tp 2>/dev/null; echo '# addr'; ip -d addr show type ppp; ip route; lsmod | egrep 'ppp|l2tp'")
    open(f"{g.dir}/evidence.txt","a").write(o); return o
