/*
 * kept_due.h
 *		Which of the tables that wait are looked at now.
 */
#ifndef REPLICATION_PLUGIN_KEPT_DUE_H
#define REPLICATION_PLUGIN_KEPT_DUE_H

/*
 * Numbers of tables that are due, with spaces between, in the order in which it is their turn;
 * NULL: none. *slow: one of the tables of owners whose code is slow, to be looked at behind all
 * others. Outside of transactions, as everything here.
 */
extern char *kept_due(char **slow);

/*
 * Notes that a table is looked at, and when again if that ends badly, as it may end with the
 * process. False if it is not its turn any more: it is not looked at as a slow one, and its owner
 * has been found to have such.
 */
extern bool kept_due_begin(const char *number, bool slow);

/* Milliseconds that one transaction of it may take. */
extern int	kept_due_limit(const char *number);

/* True if one that took all of this time, for so many changes, gets no more of it. */
extern bool kept_due_is_most(int limit, int changes);

/*
 * That took so many milliseconds for so many changes, and failed; limited: as it took longer than
 * it may; progress: others before it did not.
 */
extern void kept_due_failed(const char *number, const char *reason, int ms, int changes, bool limited, bool progress);

/* Nothing failed. pause: there was nothing to do, but the table waits on. */
extern void kept_due_worked(const char *number, bool pause);

#endif							/* REPLICATION_PLUGIN_KEPT_DUE_H */
