/*
 * settings.h
 *		Carries out the effects of changes of the group's settings.
 */
#ifndef REPLICATION_PLUGIN_SQLAPI_SETTINGS_H
#define REPLICATION_PLUGIN_SQLAPI_SETTINGS_H

/* Wakes this database's manager when the transaction commits. */
extern void settings_wake_at_commit(void);

/*
 * Wakes the manager when the transaction commits, or has one started if there is none. in_group:
 * whether this database is then in a group.
 */
extern void settings_request_at_commit(bool in_group);

/*
 * Has the manager end all other workers of this database, and start none, until the transaction
 * ends.
 */
extern void settings_suspend_workers(void);

/*
 * Forgets the seen vector of this database when the transaction commits, as the database leaves its
 * group.
 */
extern void settings_forget_seen_at_commit(void);

/* Registers for the end of transactions. Called from _PG_init() only. */
extern void settings_install(void);

#endif							/* REPLICATION_PLUGIN_SQLAPI_SETTINGS_H */
