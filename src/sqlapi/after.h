/*
 * after.h
 *		The setting replication_plugin.after: a token for which the session waits when it is set.
 */
#ifndef REPLICATION_PLUGIN_AFTER_H
#define REPLICATION_PLUGIN_AFTER_H

/* Defines the settings of tokens. Called once, from _PG_init(). */
extern void after_define_settings(void);

#endif							/* REPLICATION_PLUGIN_AFTER_H */
