#include "cmd/cmd.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "runtime/scripts.h"
#include "worker/check.h"
#include "worker/worker.h"

#include <stdio.h>

#define TIMEOUT_NS (300 * NS_PER_S)
enum { COMMAND_MAX = 32 * 1024 };

static int print_python_helper(struct error *e)
{
    size_t size;
    const char *text = script_text("python/wattle_worker.py", &size);
    if (text)
        fwrite(text, 1, size, stdout);
    else
        error_set(e, ERROR_UNSUPPORTED, "this wattle has no Python helper");
    return 0;
}

static void tell(void *context, enum check_result result, const char *text)
{
    static const char *const words[] = {[CHECK_OK] = "ok", [CHECK_WRONG] = "WRONG",
                                        [CHECK_NOTE] = "note"};
    (void)context;
    printf("%-5s  %s\n", words[result], text);
    fflush(stdout); /* a slow worker's author sees where it is */
}

static int check(const struct option_list *options, struct error *e)
{
    char text[COMMAND_MAX];
    struct check_summary summary;
    const char *const argv[] = {"sh", "-c", text, NULL};
    const char *timeout = options_last(options, OPTION_TIMEOUT, NULL);
    struct check_options o = {.argv = argv, .model = "", .timeout_ns = TIMEOUT_NS, .tell = tell};
    int result = worker_shell(options_last(options, OPTION_CHECK, ""), text, sizeof text, e);
    if (!result && timeout)
        result = text_to_ns(timeout, "timeout", NS_PER_MS, 24 * 3600 * NS_PER_S, &o.timeout_ns, e);
    if (options->operand_count)
        o.model = options->operands[0];
    if (!result)
        result = check_worker(&o, &summary, e);
    if (result)
        return exit_code_of(e);
    printf("%d ok, %d wrong\n", summary.ok, summary.wrong);
    return summary.wrong ? 1 : 0;
}

/* Without a word it is wattle's own worker. */
int cmd_worker(const struct option_list *options, struct error *e)
{
    int checks = options_given(options, OPTION_CHECK);
    if (options->operand_count > (size_t)checks) {
        error_set(e, ERROR_USAGE, "worker takes no operand '%s'%s", options->operands[checks],
                  checks ? "" : " without --check");
        return exit_code_of(e);
    }
    if (checks)
        return check(options, e);
    return options_given(options, OPTION_PYTHON_HELPER) ? print_python_helper(e)
                                                        : worker_child_main();
}
