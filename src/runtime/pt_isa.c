#include "runtime/pt_isa.h"

#include <elf.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

/* --- what the package says -------------------------------------------------------------------- */

#if defined __x86_64__
static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

static int has_vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

/* The compiler's list of what can be asked for has no AMX. */
static int has_amx(void)
{
    unsigned a = 7, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (d >> 24 & 1) && (d >> 25 & 1); /* tiles, int8 */
}
#else
static int has_avx2(void) { return 0; }
static int has_avx512(void) { return 0; }
static int has_vnni(void) { return 0; }
static int has_amx(void) { return 0; }
#endif

static int always(void)
{
    return 1;
}

/* PyTorch's words; the machine is compared before. */
static const struct {
    const char *name;
    int (*has)(void);
} sets[] = {
    {"AVX2", has_avx2}, {"AVX512", has_avx512}, {"AVX512_VNNI", has_vnni}, {"AMX_TILE", has_amx},
    {"NEON", always},   {"ASIMD", always},      {"INVALID_VEC_ISA", always}, /* no vector code */
};

static int has_set(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (strlen(sets[i].name) == size && !strncmp(sets[i].name, name, size))
            return sets[i].has();
    return 0;
}

static int rebuild(struct error *e)
{
    return error_hint(e, "export the model on this machine, or with inductor_configs "
                      "{\"cpp.march\": \"x86-64-v3\", \"cpp.simdlen\": 256}");
}

static int check_isa(const char *isa, struct error *e)
{
    for (const char *at = isa; *at; at += strspn(at, " ")) {
        size_t size = strcspn(at, " ");
        if (!has_set(at, size)) {
            error_set(e, ERROR_UNSUPPORTED, "the package was built for %.60s, and this CPU has no "
                      "%.*s", isa, (int)(size < 60 ? size : 60), at);
            return rebuild(e);
        }
        at += size;
    }
    return 0;
}

static int check_machine(const char *machine, struct error *e)
{
    struct utsname here;
    if (uname(&here) || !strcmp(machine, here.machine))
        return 0;
    return error_set(e, ERROR_UNSUPPORTED, "the package was built for machine %.40s, this one is "
                     "%s", machine, here.machine);
}

static const char *text_of(json_t *metadata, const char *name)
{
    const char *text = json_string_value(json_object_get(metadata, name));
    return text ? text : "";
}

static int check_device(const char *device, const char *provider, struct error *e)
{
    if (!*device || !strcmp(device, provider))
        return 0;
    error_set(e, ERROR_UNSUPPORTED, "the package was built for device %.40s, not for provider %s",
              device, provider);
    return error_hint(e, "--provider %.40s", device);
}

int pt_isa_check(json_t *metadata, const char *provider, struct error *e)
{
    const char *machine = text_of(metadata, "AOTI_MACHINE");
    const char *platform = text_of(metadata, "AOTI_PLATFORM");
    int code = check_device(text_of(metadata, "AOTI_DEVICE_KEY"), provider, e);
    if (!code && *platform && strcmp(platform, "linux") != 0)
        code = error_set(e, ERROR_UNSUPPORTED, "the package was built for platform %.40s, this one "
                         "is linux", platform);
    if (!code && *machine)
        code = check_machine(machine, e);
    return code ? code : check_isa(text_of(metadata, "AOTI_CPU_ISA"), e);
}

/* --- what the code is ------------------------------------------------------------------------- */

int pt_isa_check_code(int fd, size_t bytes, const char *isa, const char **checked, struct error *e)
{
    *checked = "no need";
    if (has_avx512() || !bytes)
        return 0;
    *checked = "cannot be followed";
    void *program = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (program == MAP_FAILED)
        return 0;
    long count = pt_isa_count_program(program, bytes);
    munmap(program, bytes);
    if (count < 0)
        return 0;
    *checked = "no AVX-512";
    if (!count)
        return 0;
    error_set(e, ERROR_UNSUPPORTED, "the package has %ld instructions of AVX-512, which this CPU "
              "lacks (it says that it was built for %.40s)", count, *isa ? isa : "nothing special");
    return rebuild(e);
}

/* --- what is left ----------------------------------------------------------------------------- */

/* A signal handler can use nothing else. */
static char explanation[512];
static struct sigaction former;
static int is_explained;

static void explain(int number)
{
    (void)number;
    ssize_t written = write(STDERR_FILENO, explanation, strlen(explanation));
    (void)written; /* the process dies in any case, when the instruction is tried again */
}

void pt_isa_explain_faults(const char *model, const char *isa)
{
    struct sigaction action = {.sa_handler = explain, .sa_flags = SA_RESETHAND};
    snprintf(explanation, sizeof explanation, "the package '%.200s' has instructions that this CPU "
             "lacks; it says that it was built for %.60s\n", model, *isa ? isa : "nothing special");
    is_explained = !sigaction(SIGILL, &action, &former);
}

void pt_isa_forget_faults(void)
{
    if (is_explained)
        sigaction(SIGILL, &former, NULL);
    is_explained = 0;
}
