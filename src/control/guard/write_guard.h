/*
 * write_guard.h
 *		Keeps local writes away from replicated tables of a node that is not ready.
 */
#ifndef REPLICATION_PLUGIN_WRITE_GUARD_H
#define REPLICATION_PLUGIN_WRITE_GUARD_H

/* Raises the error that a local write of a table would get now, if any: for functions that write past the executor. */
extern void write_guard_check(Oid relid);

/* From _PG_init only. */
extern void write_guard_install(void);

#endif							/* REPLICATION_PLUGIN_WRITE_GUARD_H */
