/*
 * settings.h
 *		What follows from a change of the group's settings.
 */
#ifndef REPLICATION_PLUGIN_SQLAPI_SETTINGS_H
#define REPLICATION_PLUGIN_SQLAPI_SETTINGS_H

/* Wakes this database's manager when the transaction commits; start: starts one if there is none. */
extern void settings_wake_at_commit(bool start);

#endif							/* REPLICATION_PLUGIN_SQLAPI_SETTINGS_H */
