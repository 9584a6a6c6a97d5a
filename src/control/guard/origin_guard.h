/*
 * origin_guard.h
 *		Replication origins of groups that somebody drops.
 */
#ifndef REPLICATION_PLUGIN_ORIGIN_GUARD_H
#define REPLICATION_PLUGIN_ORIGIN_GUARD_H

extern void origin_guard_install(void);

#endif							/* REPLICATION_PLUGIN_ORIGIN_GUARD_H */
