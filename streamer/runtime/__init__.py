"""The engine that brings each block's weights just before it runs, and lets them go right after."""
