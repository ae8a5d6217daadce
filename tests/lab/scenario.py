#!/usr/bin/env python3
"""scenario.py NAME...|all|list  [--out DIR]   run lab scenarios; one JSON line each."""
from vpn import *
import traceback
OUT = f"{LAB}/pcaps"
S = {}
def sc(name, **kw): S[name] = kw
G = "guest"
# --- L2TP/IPsec against strongSwan+xl2tpd guest
sc("direct-ss-gcm",        server=G, esp="gcm16-256")
sc("direct-ss-cbcsha1",    server=G, esp="cbc256-sha1", ike="modp1024")
sc("direct-ss-cbcsha256",  server=G, esp="cbc256-sha256", ike="ecp256")
sc("nat-ss-gcm",           server=G, esp="gcm16-256", nat=1)
sc("userspace-l2tp",       server=G, kernel=False)
sc("auth-wrong-password",  server=G, password="nope", expect="fail")
sc("wrong-psk",            server=G, psk_bad=True, expect="fail")
sc("plain-l2tp",           server=G, impl="none")
sc("plain-refused",        server=G, impl="none", expect="fail", silent=True)   # against a gateway that allows no clear L2TP: not one packet back
# --- IKEv2
sc("ikev2-psk",            server=G, ikev2="psk")

def certs(g, who):
    for f, d in (("ca.pem","x509ca"), (f"{who}.pem","x509"), (f"{who}.key","private")): g.put(f"/etc/swanctl/{d}/{f}", open(f"{LAB}/certs/{f}").read())
def packets(pcap, filt):
    """how many captured packets match"""
    return len(sh(["tcpdump", "-n", "-r", pcap, filt], check=False).split("IP ")) - 1
def passed(r):
    """address from the pool, small and fragmenting pings answered, TCP both ways"""
    return bool(re.search(r" 10\.99\.1\.\d+ peer 10\.99\.1\.1$", r["ppp"])) and r["ping_rc"] == 0 and r["ping1450_rc"] == 0 and all(r[d].endswith("Mbit/s") for d in ("up", "down"))
def run(name, o, keep=True, server_ip="198.51.100.10", ext=None):
    res = dict(scenario=name); t0 = time.time()
    L = Lab(("ext-" if ext else "") + name)
    try:
        L.bridge("lan"); lanhost(L); L.capture("inet")
        n = o.get("clients", 1); nat = o.get("nat"); cs = []; srv = None
        if nat: L.nat("nat1", "nat1", "198.51.100.60/24", "192.168.7.1/24"); L.capture("nat1")
        if o["server"] == G: srv = lns_guest(L, auth=o.get("auth","mschapv2"), kernel=True, ipv6=o.get("ipv6",False), ipsec=o.get("impl")!="none", dpd=o.get("sdpd"))
        for i in range(1, n+1):
            cs.append(L.guest(f"c{i}", [("nat1", f"192.168.7.{100+i}/24")], gw="192.168.7.1") if nat else L.guest(f"c{i}", [("inet", f"198.51.100.{100+i}/24")]))
        if o["server"] == "ext": ext(L)
        if srv: srv.wait()
        for c in cs: c.wait(); 
        res["guests_ready_s"] = [round(c.ready,2) for c in cs]
        allg = cs + ([srv] if srv else [])
        for g in allg: g.run("ip xfrm monitor >/job/xfrm.mon 2>&1 & ip -ts monitor link addr >/job/ip.mon 2>&1 &")
        t1 = time.time()
        if srv:
            if o.get("ikev2"):
                srv.run("sysctl -qw net.ipv4.ip_forward=1"); certs(srv, "server"); swan_start(srv, cfg.swan2_server(), cfg.strongswan_conf())
            else: lns_up(srv)
        res["server_up_s"] = round(time.time()-t1, 2); ok = True; res["clients"] = []
        cl = []
        for i, c in enumerate(cs):
            r = {}; t2 = time.time(); res["clients"].append(r)
            if o.get("ikev2"):
                if o.get("impl") == "libreswan":
                    pluto_start(c, cfg.libreswan2_client(server_ip), f'@psk.lab.test @vpn.lab.test : PSK "{cfg.PSK}"\n', server_ip, "rw")
                    t3 = time.time(); rc, out = c.run("timeout 20 ipsec whack --name rw --initiate", 25); r["ike_s"] = round(time.time()-t3,2); r["rc"] = rc; r["msg"] = out.splitlines()[-2:]; ok &= rc == 0
                    x = Client(c, ike_impl="libreswan"); cl.append(x); rc, out = c.run("ping -c5 -i0.2 -W2 10.99.0.10"); r["ping"] = (re.findall(r"\d+ received.*", out) or [out])[0]; ok &= rc == 0
                    continue
                if o["ikev2"] == "cert": certs(c, "client")
                else: c.put("/etc/swanctl/x509ca/ca.pem", open(f"{LAB}/certs/ca.pem").read())
                swan_start(c, cfg.swan2_client(server_ip, o["ikev2"], o.get("esp_rekey","1h"), o.get("ike_rekey","4h"), o.get("dpd"), o.get("pfs")), cfg.strongswan_conf())
                t3 = time.time(); rc, out = c.run("swanctl --initiate --child net --timeout 20", 25); r["ike_s"] = round(time.time()-t3,2); r["rc"] = rc
                r["msg"] = re.findall(r"(selected proposal.*|CHILD_SA .* established.*)", out); ok &= rc == 0
                if rc: r["out"] = out[-500:]; continue
                x = Client(c); x.dev = "vec0"; cl.append(x)
                rc, out = c.run("ping -c5 -i0.2 -W2 10.99.0.10"); r["ping"] = (re.findall(r"\d+ received.*", out) or [out])[0]; ok &= rc == 0
                rc, out = c.run("iperf3 -J -c 10.99.0.10 -n 1M --connect-timeout 3000"); r["up"] = f"{json.loads(out)['end']['sum_received']['bits_per_second']/1e6:.1f}" if rc == 0 else out[-200:]
                continue
            x = Client(c, server=server_ip, ike_impl=o.get("impl","strongswan"), esp=o.get("esp","any"), ike=o.get("ike","def"), auth=o.get("auth","mschapv2"), kernel=o.get("kernel",True),
                       ipv6=o.get("ipv6",False), user=[cfg.USER,cfg.USER2][i%2], password=o.get("password",[cfg.PASS,cfg.PASS2][i%2]), ike_rekey=o.get("ike_rekey","4h"), esp_rekey=o.get("esp_rekey","1h"),
                       dpd=o.get("dpd"), aggressive=o.get("aggressive",False), tport=o.get("tport",1701), ccp=o.get("ccp",False), challenge=o.get("challenge",False), mtu=o.get("mtu", 1500 if ext else 1280)); cl.append(x)
            if o.get("psk_bad"): 
                save = cfg.PSK; cfg.PSK = "wrong"; 
                try: rc, out = c.run("true"); swan_start(c, cfg.swan_client(server_ip, psk="wrong"), cfg.strongswan_conf()); rc, out = c.run("swanctl --initiate --child l2tp --timeout 8", 12)
                finally: cfg.PSK = save
            else: rc, out = x.ipsec_up()
            r["ipsec_rc"] = rc
            if rc: r["out"] = out[-400:]; ok = False; continue
            rc, out = x.l2tp_up(12); r["l2tp_rc"] = rc; r["t"] = x.t
            if rc: ok = False; r["out"] = open(f"{c.dir}/pppd.log").read()[-300:] if os.path.exists(f"{c.dir}/pppd.log") else "no pppd"; evidence(c); continue
            r["ppp"] = f"{x.dev} {x.ip} peer {x.peer}"
        for x, r in zip(cl, res["clients"]):
            if hasattr(x, "ip"):
                r.update(x.traffic()); ok &= passed(r)
                evidence(x.g)
                if o.get("ipv6"): r["ipv6"] = x.g.run("ip -6 addr show dev ppp0 | grep inet6; ping -c2 -W2 -I ppp0 $(ip -6 addr show dev ppp0 | sed -n 's/.*peer \\([^/]*\\).*/\\1/p')%ppp0 | grep received")[1]
            else: evidence(x.g)
        if o.get("soak"):
            js = [(x, x.g.bg(f"ping -i 0.1 -c {o['soak']*10} 10.99.0.10")) for x in cl]
            for (x, j), r in zip(js, res["clients"]):
                rc, out = x.g.join(j, o["soak"]+30); r["soak"] = (re.findall(r"\d+ packets transmitted.*", out) or [out[-200:]])[0]
                if x.ike_impl == "strongswan": r["rekeys"] = dict(child=x.g.run("grep -c 'CHILD_SA .* established with SPIs' /job/charon.log")[1].strip(), ike=x.g.run("grep -cE 'IKE_SA .* (established between|rekeyed between)' /job/charon.log")[1].strip())
                else: r["rekeys"] = x.g.run("grep -cE 'IPsec SA established' /job/pluto.log; grep -c 'IKE SA established' /job/pluto.log")[1].split()
                evidence(x.g)
        if o.get("blackhole"):
            L.ex("sw", "ip link set srv-0 nomaster"); x = cl[0]; t3 = time.time()
            rc, out = x.g.run(f"for i in $(seq {o['blackhole']*2}); do swanctl --list-sas | grep -q ESTABLISHED || exit 0; sleep 0.5; done; exit 1", o["blackhole"]+10)
            res["dpd_detected_s"] = round(time.time()-t3,1) if rc == 0 else None
            res["dpd_log"] = [l for l in open(f"{x.g.dir}/charon.log", errors="replace") if re.search(r"DPD|giving up|retransmit \d", l)][-8:]
            L.ex("sw", "ip link set srv-0 master br-inet"); rc, out = x.g.until("swanctl --list-sas | grep -q INSTALLED", 40); res["reconnected"] = rc == 0
        if srv: evidence(srv)
        for x in cl:
            if x.__dict__.get("ike_impl") and not o.get("ikev2"): x.down()
            elif o.get("ikev2"): x.g.run("swanctl --terminate --ike rw --timeout 5", 10)
        time.sleep(0.3)
        if o.get("silent"):
            res["answers"] = packets(f"{L.run}/inet.pcap", "src host 198.51.100.10 and (udp or icmp)"); ok |= res["answers"] > 0
        res["ok"] = {"fail": not ok, "any": True}.get(o.get("expect"), ok); res["all_up"] = ok
    except Exception as e: res["ok"] = False; res["error"] = traceback.format_exc()[-900:]
    finally: L.close()
    res["total_s"] = round(time.time()-t0, 1)
    if keep:
        d = f"{OUT}/{name}"; shutil.rmtree(d, ignore_errors=True); os.makedirs(d)
        json.dump(res, open(f"{d}/result.json","w"), indent=1)
        for f in os.listdir(L.run):
            if f.endswith(".pcap"): shutil.copy(f"{L.run}/{f}", d)
        for g in L.guests:
            for f in ("ikev1_decryption_table","ikev2_decryption_table","esp_sa","charon.log","pluto.log","xl2tpd.log","pppd.log","evidence.txt","xfrm.mon"):
                if os.path.exists(f"{g.dir}/{f}"): shutil.copy(f"{g.dir}/{f}", f"{d}/{g.name}-{f}")
    return res
def ext_server(cmd):
    """our own server: CMD run in netns srv (eth0 198.51.100.10/24 inet, eth1 10.99.0.1/24 LAN); ready at READY=1 on NOTIFY_SOCKET"""
    def up(L):
        L.mkns("srv"); L.veth("srv","eth0","inet","198.51.100.10/24"); L.veth("srv","eth1","lan","10.99.0.1/24"); L.ex("srv","sysctl -qw net.ipv4.ip_forward=1")
        n = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); n.bind(f"{L.run}/notify"); n.settimeout(20)
        L.spawn("srv", ["sh","-c","exec "+cmd], "ext.log", env=dict(LAB_RUN=L.run, NOTIFY_SOCKET=f"{L.run}/notify"))
        try:
            while b"READY=1" not in n.recv(4096): pass
        except TimeoutError: raise RuntimeError("external server not ready: " + open(f"{L.run}/ext.log").read()[-500:])
    return up
if __name__ == "__main__":
    a = sys.argv[1:]; ext = None
    if "--ext" in a:       # --ext 'CMD'
        i = a.index("--ext"); ext = ext_server(a[i+1]); del a[i:i+2]; OUT = f"{LAB}/out-ext"
        for o in S.values(): o["server"] = "ext"
    if a[:1] == ["list"]: print("\n".join(S)); sys.exit()
    names = list(S) if a == ["all"] else [n for x in a for n in S if re.fullmatch(x, n)]
    bad = 0
    for n in names:
        r = run(n, S[n], ext=ext); bad += not r["ok"]; print(json.dumps(r), flush=True)
    print(f"{len(names)-bad} passed, {bad} failed"); sys.exit(bad > 0)
