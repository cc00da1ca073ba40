"""Worker processes, files written whole, failpoints, and the one import of OpenCV.

It knows nothing of images, cells or databases.
"""
