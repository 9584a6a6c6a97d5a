/*
 * activity.h
 *		Counts the commits of a database that the other members should learn of. A frontier row
 *		follows such commits, and nothing follows a frontier row.
 */
#ifndef REPLICATION_PLUGIN_ACTIVITY_H
#define REPLICATION_PLUGIN_ACTIVITY_H

#include "base/shmem.h"

extern const ShmemArea activity_area;

/* Registers the callback that counts writing commits. Called from _PG_init() only. */
extern void activity_install(void);

/* Counts a commit of a worker of the extension, for which the callback counts none. */
extern void activity_note(void);

/* Returns the number of commits of this database so far. Counting begins with the first call. */
extern uint64 activity_count(void);

#endif							/* REPLICATION_PLUGIN_ACTIVITY_H */
