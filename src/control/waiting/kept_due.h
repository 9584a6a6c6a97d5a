/*
 * kept_due.h
 *		Selects the waiting tables that are visited now.
 */
#ifndef REPLICATION_PLUGIN_KEPT_DUE_H
#define REPLICATION_PLUGIN_KEPT_DUE_H

/* What has changed on this node that may let a waiting table be applied. */
typedef struct Changes Changes;

/* Begins to note such changes, once in a process. The result lives as long as the process. */
extern Changes *kept_due_listen(void);

/*
 * Returns the numbers of the due tables, separated by spaces, in the order of their turns, or NULL
 * if there are none. Sets *slow to one table of the owners whose code is slow, to be visited after
 * all others. Like all functions here, it must be called outside of a transaction.
 */
extern char *kept_due(Changes *changes, char **slow);

/*
 * Stores that a table is visited, and when to visit it again if this visit fails, since the failure
 * may end the process. Returns false if it is not the table's turn any more: it is not visited as a
 * slow one (slow), but its owner has been found to be slow meanwhile.
 */
extern bool kept_due_begin(const char *number, bool slow);

/* Returns the milliseconds that one transaction of the table may take. */
extern int	kept_due_limit(const char *number);

/*
 * Returns true if a transaction that took all of this time for so many changes gets no more time.
 */
extern bool kept_due_is_most(int limit, int changes);

/*
 * Stores that a transaction took so many milliseconds for so many changes and failed. limited: it
 * exceeded its time limit. progress: others before it succeeded.
 */
extern void kept_due_failed(const char *number, const char *reason, int ms, int changes,
							bool limited, bool progress);

/* Stores that nothing failed. pause: there was nothing to do, but the table goes on waiting. */
extern void kept_due_worked(const char *number, bool pause);

#endif							/* REPLICATION_PLUGIN_KEPT_DUE_H */
