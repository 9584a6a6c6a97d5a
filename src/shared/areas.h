/*
 * areas.h
 *		The areas of shared memory that the extension has.
 */
#ifndef REPLICATION_PLUGIN_AREAS_H
#define REPLICATION_PLUGIN_AREAS_H

#include "base/shmem.h"

/* The areas; the last element is NULL. */
extern const ShmemArea *const shared_areas[];

#endif							/* REPLICATION_PLUGIN_AREAS_H */
