"""What every room uses: errors, atomic writes, interruption, free memory, a line that says what goes on.
Imports nothing of this project.
"""
