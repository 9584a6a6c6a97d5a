/*
 * shmem.h
 *		Whether this server has our shared memory: the library is in shared_preload_libraries.
 */
#ifndef REPLICATION_PLUGIN_SHMEM_H
#define REPLICATION_PLUGIN_SHMEM_H

#define SHMEM_MISSING		"replication_plugin is not in shared_preload_libraries"
#define SHMEM_MISSING_HINT	"Add it (shared_preload_libraries = 'replication_plugin') and restart the server."

/* It has: called when all of it has been made, or attached to. */
extern void shmem_attached(void);

extern bool shmem_exists(void);

/* Raises an error without shared memory, with what to do. */
extern void shmem_require(void);

#endif							/* REPLICATION_PLUGIN_SHMEM_H */
