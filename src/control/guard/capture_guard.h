/*
 * capture_guard.h
 *		Sees to it that the triggers which capture writes stay in force.
 */
#ifndef REPLICATION_PLUGIN_CAPTURE_GUARD_H
#define REPLICATION_PLUGIN_CAPTURE_GUARD_H

/* Once, when the library is loaded with the server. */
extern void capture_guard_install(void);

#endif							/* REPLICATION_PLUGIN_CAPTURE_GUARD_H */
