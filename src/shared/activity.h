/*
 * activity.h
 *		Counts the commits of a database that the other members should learn of. A frontier row
 *		follows such commits, and nothing follows a frontier row.
 */
#ifndef REPLICATION_PLUGIN_ACTIVITY_H
#define REPLICATION_PLUGIN_ACTIVITY_H

#include "base/shmem.h"

extern const ShmemArea activity_area;

/*
 * Registers the callback that counts this process's writing commits from now on. Called once, in
 * each process that is not a worker of the extension.
 */
extern void activity_install(void);

/*
 * Turns the callback off in a worker of the extension, which calls activity_note() for those of its
 * commits that count.
 */
extern void activity_ignore_own(void);
extern void activity_note(void);

/* Returns the number of commits of this database so far. Counting begins with the first call. */
extern uint64 activity_count(void);

#endif							/* REPLICATION_PLUGIN_ACTIVITY_H */
