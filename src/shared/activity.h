/*
 * activity.h
 *		Counts the commits of a database that others should be told of: a frontier row
 *		follows them, and nothing follows frontier rows.
 */
#ifndef REPLICATION_PLUGIN_ACTIVITY_H
#define REPLICATION_PLUGIN_ACTIVITY_H

#include "base/shmem.h"

extern const ShmemArea activity_area;

/*
 * Counts this process's writing commits from now on, by a callback; once per process that is not
 * one of our workers.
 */
extern void activity_install(void);

/* One of our own workers: its commits count only as it says itself. */
extern void activity_ignore_own(void);
extern void activity_note(void);

/* Commits of this database so far; begins to count with the first call. */
extern uint64 activity_count(void);

#endif							/* REPLICATION_PLUGIN_ACTIVITY_H */
