"""Everything around a method, in rooms; each imports only those below it: commands, audit, report, verify, ablations,
studies, leaderboard, bench, runs, training, preparing, protocol, analysis, records, common.
"""
