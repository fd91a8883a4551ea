#include "cmd/cmd.h"
#include "worker/worker.h"

int cmd_worker(const struct option_list *options, struct error *e)
{
    if (options->operand_count)
        return error_set(e, ERROR_USAGE, "worker takes no operand '%s'", options->operands[0]);
    return worker_child_main();
}
