/*
 * commit_stamp.h
 *		Gives local commits timestamps of the hybrid logical clock.
 */
#ifndef REPLICATION_PLUGIN_COMMIT_STAMP_H
#define REPLICATION_PLUGIN_COMMIT_STAMP_H

#include "base/hooks.h"

/* Takes part in the hook for commands (replication_plugin.c). */
extern void commit_stamp_command(const UtilityCommand *command);

/* Has commits stamped: after all other callbacks, as it is to be called before them. */
extern void commit_stamp_install(void);

#endif							/* REPLICATION_PLUGIN_COMMIT_STAMP_H */
