/*
 * fault_point.h
 *		Points at which tests stop a server: wherever something becomes durable or visible.
 *
 * Fault points exist only in a library that is built with -DREPLICATION_PLUGIN_FAULT_POINTS, as the
 * test runner does. In the library that "make install" installs, FAULT_POINT() is empty, and a test
 * proves that. A test arms one point at a time by writing "<name> <action>" into the file
 * FAULT_POINT_FILE of a server's data directory. The process that reaches the point first removes
 * the file and acts, once:
 *
 *	crash	the process kills itself by signal 9, so that PostgreSQL restarts all processes
 *	error	ERROR; not for points inside a commit
 *	wait	waits until the test creates FAULT_POINT_GO; serves interrupts
 *
 * Every point must have a scenario in t/145_fault_points.pl, else that test fails.
 */
#ifndef REPLICATION_PLUGIN_FAULT_POINT_H
#define REPLICATION_PLUGIN_FAULT_POINT_H

#ifdef REPLICATION_PLUGIN_FAULT_POINTS

#define FAULT_POINT_FILE	"replication_plugin.fault_point"
#define FAULT_POINT_GO		"replication_plugin.fault_point_go"

#define FAULT_POINT(name)	fault_point_reach(name)

/* Acts if this point is armed. */
extern void fault_point_reach(const char *name);

/*
 * Adds a point "after_<function>" at the end of some SQL functions of the extension. Called once,
 * from _PG_init().
 */
extern void fault_point_install(void);

#else

#define FAULT_POINT(name)	((void) 0)

#endif							/* REPLICATION_PLUGIN_FAULT_POINTS */

#endif							/* REPLICATION_PLUGIN_FAULT_POINT_H */
