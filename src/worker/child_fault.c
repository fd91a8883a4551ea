/* child_fault.c: inputs are mapped read-only, so that no run gets others than the one before it.
 * Code of a model that writes to them all the same (TorchScript with x.add_(1), a compiled package
 * that mutates its argument) faults; the fault is answered here, so that it is not just a signal. */
#include "worker/child.h"

#include <signal.h>
#include <unistd.h>

enum { STATUS_FAULT = 1 };

/* A signal handler can use nothing else. */
static uintptr_t inputs_begin, inputs_end;
static struct sigaction former;
static int is_installed, is_told;

static const char refusal[] =
    "{\"ok\":false,\"code\":\"mismatch\",\"error\":\"the model writes to its inputs: later runs "
    "would get other ones\",\"hint\":\"let it work on a copy, as by x.clone() in PyTorch\"}\n";

/* The thread that faulted cannot go on, nor can any other while the runtime waits for it. */
static void refuse(void)
{
    ssize_t written = -1;
    if (!__atomic_exchange_n(&is_told, 1, __ATOMIC_SEQ_CST))
        written = write(WATTLE_FD_REPLIES, refusal, sizeof refusal - 1);
    else
        pause(); /* another thread is at it */
    (void)written;
    _exit(STATUS_FAULT);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr;
    (void)context;
    if (info->si_code > 0 && at >= inputs_begin && at < inputs_end)
        refuse();
    sigaction(number, &former, NULL); /* not ours: whose it is gets it, when it is tried again */
    if (info->si_code <= 0)
        raise(number); /* sent by a process: it does not come again by itself */
}

void child_guard_inputs(const uint8_t *inputs, size_t bytes)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    inputs_begin = (uintptr_t)inputs;
    inputs_end = inputs_begin + bytes;
    sigemptyset(&action.sa_mask);
    if (!is_installed)
        is_installed = !sigaction(SIGSEGV, &action, &former);
}
