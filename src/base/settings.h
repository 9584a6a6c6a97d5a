/*
 * settings.h
 *		The extension's configuration parameters (prefix replication_plugin.).
 */
#ifndef REPLICATION_PLUGIN_SETTINGS_H
#define REPLICATION_PLUGIN_SETTINGS_H

extern int	setting_max_links;			/* shared-memory entries for links, postmaster */
extern int	setting_copy_workers;		/* tables copied at a time in a join */
extern int	setting_reroute_timeout;	/* ms that a link may be blocked on a stub */
extern int	setting_retry_min;			/* ms, first back-off of a failed worker */
extern int	setting_retry_max;			/* ms, longest back-off */
extern int	setting_clock_offset_warning;	/* ms; -1: none */
extern int	setting_max_clock_skew;	/* s; -1: no limit */
extern int	setting_max_retained_wal;	/* MB; -1: no limit */
extern int	setting_frontier_interval;	/* ms */
/* ms that a table's changes fail before the table waits; 0: for ever */
extern int	setting_table_patience;
/* ms that a link waits for a lock before its holder is ended; 0: for ever */
extern int	setting_lock_patience;
/* ms that local writes wait after a start for another member's answer; 0: not at all, -1: for ever */
extern int	setting_contact_patience;
/* ms that code of users may take for a row; 0: no limit */
extern int	setting_row_timeout;
extern int	setting_conflict_retention; /* seconds that conflicts are kept; -1 for ever */
extern int	setting_conflict_log_size;	/* MB; -1: no limit */
extern int	setting_conflict_log_rate;	/* rows per second and link worker; -1: no limit */

/* Defines all parameters. Called once, from _PG_init(). */
extern void settings_define(void);

/*
 * Reserves the prefix. Called after all settings are defined: a setting with the prefix that is not
 * defined by then is refused.
 */
extern void settings_reserve_prefix(void);

#endif							/* REPLICATION_PLUGIN_SETTINGS_H */
