"""What every stage needs of the machine: files, devices, errors."""
