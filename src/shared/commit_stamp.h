/*
 * commit_stamp.h
 *		Gives local commits timestamps of the hybrid logical clock.
 */
#ifndef REPLICATION_PLUGIN_COMMIT_STAMP_H
#define REPLICATION_PLUGIN_COMMIT_STAMP_H

#include "base/hooks.h"

/* Utility command hook (called from replication_plugin.c). */
extern void commit_stamp_command(const UtilityCommand *command);

/*
 * Registers the callback that gives commits their timestamps. Called after all other callbacks are
 * registered, because PostgreSQL calls the last one first.
 */
extern void commit_stamp_install(void);

#endif							/* REPLICATION_PLUGIN_COMMIT_STAMP_H */
