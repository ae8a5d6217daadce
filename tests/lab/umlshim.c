/* LD_PRELOAD shim for user-mode-linux 6.1 on newer hosts: UML's PTRACE_SETREGSET(NT_X86_XSTATE) passes only
 * 832 bytes (x87+SSE+AVX), current kernels insist on the whole XSAVE area (EFAULT otherwise) - AVX-512/AMX hosts
 * always fail.  The shim reads/writes the whole area and keeps the upper part in a stash keyed by UML's own
 * buffer address, so the guest's AVX-512 state survives task switches as well.  Where UML's buffer holds the
 * host's whole area (AMD's layout is shorter), nothing is cut off and nothing is stashed.                        */
#define _GNU_SOURCE
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <stdarg.h>
#include <string.h>
#include <stdint.h>
#include <errno.h>
#define NT_X86_XSTATE 0x202
#define MAXX 16384
#define NSTASH 4096
static struct { void *key; uint32_t len; unsigned char *p; } stash[NSTASH];
static unsigned char tmp[MAXX] __attribute__((aligned(64)));
static size_t full;                      /* size of the host's area */
static unsigned char pool[NSTASH/4][12288]; static int npool;
static int slot(void *k, int mk){
    unsigned h = ((uintptr_t)k >> 6) * 2654435761u % NSTASH;
    for (int i=0;i<NSTASH;i++){ unsigned j=(h+i)%NSTASH;
        if (stash[j].key==k) return j;
        if (!stash[j].key){ if(!mk) return -1; if(npool>=NSTASH/4) return -1;
            stash[j].key=k; stash[j].p=pool[npool++]; return j; } }
    return -1; }
long ptrace(enum __ptrace_request req, ...){
    va_list ap; va_start(ap, req);
    long pid = va_arg(ap, long); void *addr = va_arg(ap, void*); void *data = va_arg(ap, void*); va_end(ap);
    pid = (int)pid;
    if ((req==PTRACE_GETREGSET || req==PTRACE_SETREGSET) && (long)addr==NT_X86_XSTATE) {
        struct iovec *u = data, v = { tmp, MAXX };
        if (req==PTRACE_GETREGSET) {
            long r = syscall(SYS_ptrace, req, pid, addr, &v); if (r<0) return r;
            full = v.iov_len;
            size_t n = u->iov_len < full ? u->iov_len : full;
            memcpy(u->iov_base, tmp, n);
            if (full > n && full-n <= 12288) { int s = slot(u->iov_base, 1); if (s>=0){ memcpy(stash[s].p, tmp+n, full-n); stash[s].len = full-n; } }
            u->iov_len = n; return r;
        }
        if (!full) { long r = syscall(SYS_ptrace, PTRACE_GETREGSET, pid, addr, &v); if (r<0) return r; full = v.iov_len; }
        size_t n = u->iov_len < full ? u->iov_len : full;
        memset(tmp, 0, full); memcpy(tmp, u->iov_base, n);
        int s = full>n ? slot(u->iov_base, 0) : -1;
        if (s>=0 && stash[s].len == full-n) memcpy(tmp+n, stash[s].p, full-n);
        else if (full > n) { /* upper state cut off and not known: mark components above AVX as initial */
            uint64_t *xbv=(uint64_t*)(tmp+512); *xbv &= 7; }
        v.iov_len = full;
        return syscall(SYS_ptrace, req, pid, addr, &v);
    }
    if (req==PTRACE_PEEKUSER||req==PTRACE_PEEKTEXT||req==PTRACE_PEEKDATA){ long d; long r=syscall(SYS_ptrace,req,pid,addr,&d); return r<0?r:(errno=0,d);}
    return syscall(SYS_ptrace, req, pid, addr, data);
}
