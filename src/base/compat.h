/*
 * compat.h
 *		The differences between the supported PostgreSQL versions, and the version that the
 *		library is compiled for. No other file reads PG_VERSION_NUM: `.ci/check_floors.pl`.
 */
#ifndef REPLICATION_PLUGIN_COMPAT_H
#define REPLICATION_PLUGIN_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "replication_plugin needs PostgreSQL 15 or newer"
#endif

#define SERVER_VERSION_NUM		PG_VERSION_NUM	/* as the setting server_version_num shows it */
#define SERVER_MAJOR_VERSION	PG_MAJORVERSION	/* as text */

/* PostgreSQL 15.0 has this function only under its first name. */
#if PG_VERSION_NUM < 150001
#define InitMaterializedSRF			SetSingleFuncCall
#define MAT_SRF_USE_EXPECTED_DESC	SRF_SINGLE_USE_EXPECTED
#define MAT_SRF_BLESS				SRF_SINGLE_BLESS
#endif

#endif							/* REPLICATION_PLUGIN_COMPAT_H */
