/*
 * settings.h
 *		What follows from a change of the group's settings.
 */
#ifndef REPLICATION_PLUGIN_SQLAPI_SETTINGS_H
#define REPLICATION_PLUGIN_SQLAPI_SETTINGS_H

/* Wakes this database's manager when the transaction commits. */
extern void settings_wake_at_commit(void);

/*
 * The same, and starts one if there is none; in_group: this database is then in a group, or no
 * longer.
 */
extern void settings_request_at_commit(bool in_group);

/*
 * Has the manager end all other workers of this database, and start none, until the transaction
 * ends.
 */
extern void settings_suspend_workers(void);

/*
 * What this database has seen of other nodes is forgotten when the transaction commits: it leaves
 * its group.
 */
extern void settings_forget_seen_at_commit(void);

#endif							/* REPLICATION_PLUGIN_SQLAPI_SETTINGS_H */
