/* pt_settings.c: what is really set, for the record, read back from PyTorch and the CPU. */
#include "runtime/pt.h"

#include "runtime/openmp.h"

#include <stdlib.h>
#include <string.h>

#if defined __x86_64__
#include <immintrin.h>
#endif

/* --- denormals -------------------------------------------------------------------------------- */

/* A state of the thread, which those it starts inherit: PyTorch's are not started yet. */
#if defined __x86_64__
enum { ZERO_BITS = 0x8040 }; /* results and operands */

static void set_zero(int on)
{
    _mm_setcsr(on ? _mm_getcsr() | ZERO_BITS : _mm_getcsr() & ~(unsigned)ZERO_BITS);
}

static const char *denormals(void)
{
    return _mm_getcsr() & ZERO_BITS ? "zero" : "kept";
}
#elif defined __aarch64__
#define ZERO_BIT (1ull << 24)

static unsigned long long control(void)
{
    unsigned long long value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
}

static void set_zero(int on)
{
    unsigned long long value = on ? control() | ZERO_BIT : control() & ~ZERO_BIT;
    __asm__ volatile("msr fpcr, %0" : : "r"(value));
}

static const char *denormals(void)
{
    return control() & ZERO_BIT ? "zero" : "kept";
}
#else
static void set_zero(int on)
{
    (void)on;
}

static const char *denormals(void)
{
    return "unknown";
}
#endif

/* --- before the model ------------------------------------------------------------------------- */

/* The second call of set_interop in a process ends it, so it is only made when it must be. */
static int set_threads(struct pt *p, int threads, struct error *e)
{
    const struct pt_api *a = &p->api;
    a->set_threads(threads);
    if (a->interop() != 1)
        a->set_interop(1);
    if (a->threads() == threads && a->interop() == 1)
        return 0;
    return error_set(e, ERROR_UNSUPPORTED, "PyTorch took %d threads and %d between operators, not "
                     "%d and 1", a->threads(), a->interop(), threads);
}

int pt_settings_apply(struct pt *p, const struct adapter_request *r, struct error *e)
{
    set_zero(p->wants_zero);
    p->api.set_grad(false);
    return set_threads(p, r->threads, e);
}

/* --- the record ------------------------------------------------------------------------------- */

static int put(struct pt *p, const char *name, json_t *value, struct error *e)
{
    return json_object_set_new(p->settings, name, value) ? error_memory(e) : 0;
}

static int put_variant(struct pt *p, struct error *e)
{
    if (p->script.shim[0])
        return put(p, "shim", json_string(p->script.shim), e);
    int code = put(p, "isa", json_string(p->aoti.isa), e);
    if (!code)
        code = put(p, "code_check", json_string(p->aoti.checked), e);
    if (!code)
        code = put(p, "weights", json_string(p->aoti.weights), e);
    return code ? code
                : put(p, "input_checks",
                      json_string(p->aoti.has_checks ? "on" : "off"), e);
}

static int put_device(struct pt *p, struct error *e)
{
    if (!p->is_cuda)
        return 0;
    const char *tf32 = getenv("NVIDIA_TF32_OVERRIDE");
    int code = put(p, "tf32", json_string(tf32 && !strcmp(tf32, "0") ? "off" : "unknown"), e);
    if (!code)
        code = put(p, "device", json_integer(p->device), e);
    if (!code)
        code = put(p, "copy_in_ns", json_integer((json_int_t)p->copy_in_ns), e);
    return code ? code
                : put(p, "copies", json_string("inputs when bound, outside the latency; outputs "
                                               "after the window"), e);
}

/* What was prepared says how; of what others made nothing is known. */
static int put_origin(struct pt *p, struct error *e)
{
    static const char *const members[] = {"how", "form", "torch"};
    int code = put(p, "described", json_boolean(p->description), e);
    for (size_t i = 0; !code && i < sizeof members / sizeof *members; i++) {
        json_t *text = json_object_get(p->description, members[i]);
        char name[32];
        snprintf(name, sizeof name, "model_%s", members[i]);
        if (json_is_string(text))
            code = put(p, name, json_incref(text), e);
    }
    return code ? code : put(p, "trial_run", json_boolean(p->tried), e);
}

int pt_settings_make(struct pt *p, const struct adapter_request *r, struct error *e)
{
    const struct pt_api *a = &p->api;
    p->settings = json_pack("{s:i,s:i,s:s,s:s,s:s,s:s,s:s,s:b}", "threads", a->threads(),
                            "inter_op_threads", a->interop(), "variant", p->variant, "provider",
                            p->provider, "precision", r->precision, "spin", r->spin, "denormals",
                            denormals(), "gradients", a->has_grad());
    int code = p->settings ? 0 : error_memory(e);
    if (!code)
        code = openmp_settings(p->settings, e);
    if (!code)
        code = put_variant(p, e);
    if (!code)
        code = put_origin(p, e);
    return code ? code : put_device(p, e);
}
