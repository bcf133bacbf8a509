"""What every other folder may use: time, limits, logs, and the errors that stop a start.

Read `clock`, `start_error` and `faults` first. `timers`, `turns`, `periodic` and `tasks` are about time. `rate_limits`,
`concurrency`, `costs` and `descriptors` are about limits. `logs`, `folding`, `faults`, `audit`, `counters`,
`histograms` and `loop_lag` record what happens. `start_error`, `import_names`, `file_lock` and `data_dir_lock` guard
the start, and `worker_place` says which worker this is. `local_socket` answers other processes of this machine, which
find it in `socket_folder`. `batches`, `strict_json`, `room_patterns`, `client_info`, `bundled_files` and `garbage` are
small tools.
"""
